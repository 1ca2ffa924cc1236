#include "overlay/datapath/datapath.h"

#include <fmt/format.h>

#include <map>
#include <utility>

namespace homeport::overlay {

namespace {

// What makes an entry the same entry, and what it is called.
std::pair<policy::Vni, std::string> key_of(const NetworkEntry& entry) {
  return {entry.vni, "the network"};
}
std::pair<policy::Vni, std::string> key_of(const Port& entry) {
  return {entry.vni, "the port " + entry.device};
}
std::pair<policy::Vni, std::string> key_of(const AddressEntry& entry) {
  return {entry.vni, "the address " + entry.mac.to_string()};
}
std::pair<policy::Vni, std::string> key_of(const policy::IpAddress& vtep) {
  return {0, "the VTEP " + vtep.to_string()};
}
std::pair<policy::Vni, std::string> key_of(const HostAddress& entry) {
  return {0, "the host's address " + entry.address.to_string()};
}
std::pair<policy::Vni, std::string> key_of(const VtepAlias& entry) {
  return {0, fmt::format("the address {} of the VTEP {}", entry.address.to_string(),
                         entry.vtep.to_string())};
}
std::pair<policy::Vni, std::string> key_of(const PathEntry& entry) {
  return {0, fmt::format("the {} path to the VTEP {}", to_string(entry.traffic_class),
                         entry.vtep.to_string())};
}
std::pair<policy::Vni, std::string> key_of(const RelayEntry& entry) {
  return {0, fmt::format("the label {}", entry.label)};
}
std::pair<policy::Vni, std::string> key_of(const policy::PortRule& entry) {
  return {0, fmt::format("the rule for {}", to_string(entry.ports))};
}

template <class Entry>
void compare(const std::vector<Entry>& desired, const std::vector<Entry>& programmed,
             std::vector<std::string>& sentences) {
  using Key = std::pair<policy::Vni, std::string>;
  std::map<Key, std::pair<const Entry*, const Entry*>> both;
  for (const Entry& entry : desired) both[key_of(entry)].first = &entry;
  for (const Entry& entry : programmed) both[key_of(entry)].second = &entry;
  for (const auto& [key, entries] : both) {
    const auto& [wanted, found] = entries;
    if (wanted && found && *wanted == *found) continue;
    const std::string network = key.first ? fmt::format(" of VNI {}", key.first) : std::string{};
    const char* what = !found ? "is missing" : !wanted ? "should not be there" : "is another";
    sentences.push_back(fmt::format("{}{} {}", key.second, network, what));
  }
}

}  // namespace

std::vector<std::string> differences(const DesiredState& desired, const DesiredState& programmed,
                                     std::size_t limit) {
  std::vector<std::string> sentences;
  compare(desired.networks, programmed.networks, sentences);
  compare(desired.ports, programmed.ports, sentences);
  compare(desired.addresses, programmed.addresses, sentences);
  compare(desired.vteps, programmed.vteps, sentences);
  compare(desired.hosts, programmed.hosts, sentences);
  compare(desired.aliases, programmed.aliases, sentences);
  compare(desired.paths, programmed.paths, sentences);
  compare(desired.relays, programmed.relays, sentences);
  compare(desired.port_rules, programmed.port_rules, sentences);
  if (sentences.size() > limit) sentences.resize(limit);
  return sentences;
}

}  // namespace homeport::overlay
