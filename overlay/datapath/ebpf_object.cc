#include "overlay/datapath/ebpf_object.h"

#include "overlay/datapath/homeport_datapath_bpf.skel.h"
#include "overlay/directory.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <array>
#include <cstdarg>
#include <cstdio>

namespace homeport::overlay {

namespace {

namespace fs = std::filesystem;

/// What libbpf complained about first on this thread since load() began: the cause, for error
/// messages. Later complaints are about what came of it.
thread_local std::string first_complaint;

int keep_complaint(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN || !first_complaint.empty()) return 0;
  std::array<char, 1024> text{};
  const int length = std::vsnprintf(text.data(), text.size(), format, arguments);
  first_complaint = text.data();
  while (first_complaint.ends_with('\n')) first_complaint.pop_back();
  return length;
}

policy::Error load_error(std::string message, int error) {
  auto result = policy::errno_error(std::move(message), error);
  if (!first_complaint.empty()) result.message += " (" + first_complaint + ")";
  return result;
}

fs::path layout_directory(const EbpfOptions& options) {
  return options.pin_directory / ("layout-" + std::to_string(HP_LAYOUT_VERSION));
}

Result<void> make_pin_directory(const EbpfOptions& options) {
  // The nearest directory that exists tells the file system, before anything is made on a wrong
  // one.
  std::error_code code;
  fs::path existing = fs::absolute(options.pin_directory, code);
  while (!existing.empty() && !fs::exists(existing, code) && existing != existing.parent_path()) {
    existing = existing.parent_path();
  }
  struct statfs info {};
  if (::statfs(existing.c_str(), &info) < 0) {
    return policy::errno_error("The directory " + existing.string() + " cannot be read");
  }
  if (static_cast<std::uint64_t>(info.f_type) != BPF_FS_MAGIC) {
    return policy::make_error(
        boost::system::errc::invalid_argument,
        "The directory " + options.pin_directory.string() +
            " for the datapath's maps is not on a BPF file system: mount one with \"mount -t bpf "
            "bpf /sys/fs/bpf\", or name a directory on one. (\"ip netns exec\" hides it: enter "
            "the namespace with \"nsenter --net\" instead.)");
  }
  fs::create_directories(layout_directory(options), code);
  if (code) {
    return policy::errno_error(
        "The directory " + layout_directory(options).string() + " cannot be made", code.value());
  }
  return {};
}

/// Those that outlive the agent.
std::array<bpf_map*, 18> kept_maps(const homeport_datapath_bpf& skeleton) {
  const auto& maps = skeleton.maps;
  return {maps.hp_addresses, maps.hp_held,          maps.hp_ports,         maps.hp_neighbors,
          maps.hp_networks,  maps.hp_network_hosts, maps.hp_network_ports, maps.hp_vteps,
          maps.hp_paths,     maps.hp_labels,        maps.hp_relays,        maps.hp_routes,
          maps.hp_hosts,     maps.hp_port_counters, maps.hp_counters,      maps.hp_flows,
          maps.hp_asks,      maps.hp_port_rules};
}

}  // namespace

Result<EbpfObject> EbpfObject::load(const EbpfOptions& options) {
  libbpf_set_print(keep_complaint);
  first_complaint.clear();
  if (auto made = make_pin_directory(options); !made) return made.error();

  std::unique_ptr<homeport_datapath_bpf, Destroy> skeleton(homeport_datapath_bpf__open());
  if (!skeleton) return load_error("The datapath's programs cannot be opened", errno);
  const fs::path directory = layout_directory(options);
  for (bpf_map* map : kept_maps(*skeleton)) {
    const fs::path path = directory / bpf_map__name(map);
    if (const int result = bpf_map__set_pin_path(map, path.c_str()); result < 0) {
      return load_error("The map " + path.string() + " cannot be named", -result);
    }
  }
  skeleton->bss->hp_udp_port = options.udp_port;
  skeleton->bss->hp_local_v4 = options.local_vtep_v4 ? options.local_vtep_v4->to_uint() : 0;
  if (options.local_vtep_v6) {
    const auto bytes = options.local_vtep_v6->to_bytes();
    std::memcpy(skeleton->bss->hp_local_v6, bytes.data(), bytes.size());
  }
  if (const int result = homeport_datapath_bpf__load(skeleton.get()); result < 0) {
    return load_error("The datapath's programs cannot be loaded with the maps in " +
                          directory.string() +
                          " (needs root; maps there that are not Homeport's "
                          "must be removed)",
                      -result);
  }
  return EbpfObject(std::move(skeleton), directory);
}

std::vector<bpf_map*> EbpfObject::unpinned() const {
  std::vector<bpf_map*> unpinned;
  for (bpf_map* map : kept_maps(*skeleton_)) {
    std::error_code code;
    if (!fs::exists(bpf_map__pin_path(map), code)) unpinned.push_back(map);
  }
  return unpinned;
}

bool EbpfObject::pinned() const {
  return unpinned().empty();
}

Result<std::vector<std::string>> EbpfObject::keep_pins() {
  const std::vector<bpf_map*> maps = unpinned();
  if (maps.empty()) return std::vector<std::string>{};
  std::error_code code;
  fs::create_directories(directory_, code);
  if (code) {
    return policy::errno_error("The directory " + directory_.string() + " cannot be made",
                               code.value());
  }
  for (bpf_map* map : maps) {
    const char* path = bpf_map__pin_path(map);
    if (bpf_obj_pin(bpf_map__fd(map), path) < 0) {
      return policy::errno_error("The map " + std::string(path) + " cannot be pinned");
    }
  }
  return std::vector{fmt::format("{} of the maps in {} were not pinned any more", maps.size(),
                                 directory_.string())};
}

Result<void> EbpfObject::remove_other_layouts(const EbpfOptions& options) {
  std::error_code code;
  for (const fs::path& entry : entries_of(options.pin_directory, code)) {
    if (entry == layout_directory(options)) continue;
    if (!entry.filename().string().starts_with("layout-")) continue;
    std::error_code removal;
    fs::remove_all(entry, removal);
    if (removal) code = removal;  // The others can go nevertheless.
  }
  if (code) {
    return policy::errno_error(
        "Maps of other layouts in " + options.pin_directory.string() + " cannot be removed",
        code.value());
  }
  return {};
}

void EbpfObject::Destroy::operator()(homeport_datapath_bpf* skeleton) const {
  homeport_datapath_bpf__destroy(skeleton);
}

EbpfObject::EbpfObject(std::unique_ptr<homeport_datapath_bpf, Destroy> skeleton,
                       std::filesystem::path directory)
    : skeleton_(std::move(skeleton)), directory_(std::move(directory)) {}
EbpfObject::EbpfObject(EbpfObject&&) noexcept = default;
EbpfObject& EbpfObject::operator=(EbpfObject&&) noexcept = default;
EbpfObject::~EbpfObject() = default;

BpfMap<hp_address_key, hp_address> EbpfObject::addresses() const {
  return {bpf_map__fd(skeleton_->maps.hp_addresses), "hp_addresses"};
}
BpfMap<hp_address_key, hp_delivery> EbpfObject::held() const {
  return {bpf_map__fd(skeleton_->maps.hp_held), "hp_held"};
}
BpfMap<__u32, hp_port> EbpfObject::ports() const {
  return {bpf_map__fd(skeleton_->maps.hp_ports), "hp_ports"};
}
BpfMap<hp_neighbor_key, hp_mac> EbpfObject::neighbors() const {
  return {bpf_map__fd(skeleton_->maps.hp_neighbors), "hp_neighbors"};
}
BpfMap<__u32, hp_network> EbpfObject::networks() const {
  return {bpf_map__fd(skeleton_->maps.hp_networks), "hp_networks"};
}
BpfMap<hp_member_key, hp_vtep> EbpfObject::network_hosts() const {
  return {bpf_map__fd(skeleton_->maps.hp_network_hosts), "hp_network_hosts"};
}
BpfMap<hp_member_key, __u32> EbpfObject::network_ports() const {
  return {bpf_map__fd(skeleton_->maps.hp_network_ports), "hp_network_ports"};
}
BpfMap<hp_vtep, hp_host_address> EbpfObject::vteps() const {
  return {bpf_map__fd(skeleton_->maps.hp_vteps), "hp_vteps"};
}
BpfMap<hp_path_key, hp_path> EbpfObject::paths() const {
  return {bpf_map__fd(skeleton_->maps.hp_paths), "hp_paths"};
}
BpfMap<hp_port_rule_key, hp_port_rule> EbpfObject::port_rules() const {
  return {bpf_map__fd(skeleton_->maps.hp_port_rules), "hp_port_rules"};
}
BpfMap<hp_label_key, __u32> EbpfObject::labels() const {
  return {bpf_map__fd(skeleton_->maps.hp_labels), "hp_labels"};
}
BpfMap<__u32, hp_relay> EbpfObject::relays() const {
  return {bpf_map__fd(skeleton_->maps.hp_relays), "hp_relays"};
}
BpfMap<hp_ip, hp_route> EbpfObject::routes() const {
  return {bpf_map__fd(skeleton_->maps.hp_routes), "hp_routes"};
}
BpfMap<hp_ip, hp_host> EbpfObject::hosts() const {
  return {bpf_map__fd(skeleton_->maps.hp_hosts), "hp_hosts"};
}
BpfMap<hp_probe_pair, hp_asked> EbpfObject::asks() const {
  return {bpf_map__fd(skeleton_->maps.hp_asks), "hp_asks"};
}
int EbpfObject::probe_answers_fd() const {
  return bpf_map__fd(skeleton_->maps.hp_probe_answers);
}
int EbpfObject::port_counters_fd() const {
  return bpf_map__fd(skeleton_->maps.hp_port_counters);
}
int EbpfObject::counters_fd() const {
  return bpf_map__fd(skeleton_->maps.hp_counters);
}
int EbpfObject::map_fd(const char* name) const {
  return bpf_object__find_map_fd_by_name(skeleton_->obj, name);
}
int EbpfObject::settings_fd() const {
  return bpf_map__fd(skeleton_->maps.bss);
}
int EbpfObject::from_port_fd() const {
  return bpf_program__fd(skeleton_->progs.hp_from_port);
}
int EbpfObject::from_tunnel_fd() const {
  return bpf_program__fd(skeleton_->progs.hp_from_tunnel);
}
int EbpfObject::from_host_fd() const {
  return bpf_program__fd(skeleton_->progs.hp_from_host);
}
int EbpfObject::from_underlay_fd() const {
  return bpf_program__fd(skeleton_->progs.hp_from_underlay);
}
std::uint32_t& EbpfObject::fast_off() {
  return skeleton_->bss->hp_fast_off;
}
void EbpfObject::set_sending(bool fast, std::uint16_t first_port, std::uint16_t ports) {
  std::atomic_ref(skeleton_->bss->hp_fast_send).store(0);
  skeleton_->bss->hp_first_source_port = first_port;
  skeleton_->bss->hp_source_ports = ports;
  std::atomic_ref(skeleton_->bss->hp_fast_send).store(fast);
}
void EbpfObject::set_host_ifindex(std::uint32_t ifindex) {
  skeleton_->bss->hp_host_ifindex = ifindex;
}
void EbpfObject::set_has_paths(bool has_paths) {
  skeleton_->bss->hp_has_paths = has_paths;
}
void EbpfObject::set_has_port_rules(bool has_port_rules) {
  skeleton_->bss->hp_has_port_rules = has_port_rules;
}
void EbpfObject::set_vxlan_ifindex(std::uint32_t ifindex) {
  skeleton_->bss->hp_vxlan_ifindex = ifindex;
}

}  // namespace homeport::overlay
