// The tables of the eBPF datapath as the kernel has them at this moment, entry by entry: a trace
// looks at a dozen of them, however many there are.
#pragma once

#include "overlay/datapath/ebpf_object.h"
#include "overlay/datapath/map_trace.h"

namespace homeport::overlay {

/// `object` must outlive it. What cannot be read counts as missing, and is told by problem().
class KernelTables final : public TraceTables {
 public:
  explicit KernelTables(const EbpfObject& object) : object_(object) {}

  std::optional<hp_port> port(__u32 ifindex) const override { return at(object_.ports(), ifindex); }
  std::optional<hp_address> address(const hp_address_key& key) const override {
    return at(object_.addresses(), key);
  }
  std::optional<hp_delivery> held(const hp_address_key& key) const override {
    return at(object_.held(), key);
  }
  std::optional<hp_mac> neighbor(const hp_neighbor_key& key) const override {
    return at(object_.neighbors(), key);
  }
  std::optional<hp_network> network(__u32 vni) const override {
    return at(object_.networks(), vni);
  }
  std::optional<hp_vtep> network_host(const hp_member_key& key) const override {
    return at(object_.network_hosts(), key);
  }
  std::optional<__u32> network_port(const hp_member_key& key) const override {
    return at(object_.network_ports(), key);
  }
  std::optional<hp_host_address> vtep(const hp_vtep& key) const override {
    return at(object_.vteps(), key);
  }
  std::optional<hp_path> path(const hp_path_key& key) const override {
    return at(object_.paths(), key);
  }
  std::optional<hp_port_rule> port_rule(const hp_port_rule_key& key) const override {
    return at(object_.port_rules(), key);
  }
  std::optional<__u32> label(const hp_label_key& key) const override {
    return at(object_.labels(), key);
  }
  std::optional<hp_relay> relay(__u32 label) const override { return at(object_.relays(), label); }
  std::optional<hp_route> route(const hp_ip& key) const override {
    return at(object_.routes(), key);
  }
  std::optional<hp_host> host(const hp_ip& key) const override { return at(object_.hosts(), key); }

  const std::optional<policy::Error>& problem() const { return problem_; }

 private:
  template <class Key, class Value>
  std::optional<Value> at(const BpfMap<Key, Value>& map, const Key& key) const {
    auto found = map.find(key);
    if (found) return *found;
    if (found.error().code != boost::system::errc::no_such_file_or_directory) {
      problem_ = found.error();
    }
    return std::nullopt;
  }

  const EbpfObject& object_;
  mutable std::optional<policy::Error> problem_;
};

}  // namespace homeport::overlay
