#include "overlay/datapath/ebpf_counter.h"

#include "overlay/datapath/homeport_count_bpf.skel.h"
#include "overlay/link/unique_fd.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace homeport::overlay {

namespace {

/// enum bpf_attach_type of Linux 6.6: newer than the headers this is built with.
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);

struct Destroy {
  void operator()(homeport_count_bpf* skeleton) const { homeport_count_bpf__destroy(skeleton); }
};
using Skeleton = std::unique_ptr<homeport_count_bpf, Destroy>;

constexpr std::array kNames = {
#define X(name) #name,
    HP_COUNTERS(X) HP_COUNTED_ENDS(X)
#undef X
};
static_assert(kNames.size() == HP_COUNTED_SLOTS);

policy::Error failed(const char* what, int error) {
  return policy::errno_error(
      fmt::format("Packets of a trace cannot be counted: {} (needs Linux 6.6)", what), error);
}

/// The programs with the maps and settings of the datapath, of which `entrance` is loaded alone.
Result<Skeleton> load(const EbpfObject& object, Entrance entrance,
                      const hp_counted_packet& packet) {
  Skeleton skeleton(homeport_count_bpf__open());
  if (!skeleton) return failed("the programs cannot be opened", errno);
  std::memcpy(const_cast<hp_counted_packet*>(&skeleton->rodata->hp_wanted), &packet,
              sizeof(packet));
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton->obj) {
    if (map == skeleton->maps.hp_counted || map == skeleton->maps.hp_before ||
        map == skeleton->maps.rodata) {
      continue;
    }
    const int shared =
        map == skeleton->maps.bss ? object.settings_fd() : object.map_fd(bpf_map__name(map));
    if (int result = bpf_map__reuse_fd(map, shared); result < 0) {
      return failed("the datapath's maps cannot be shared", -result);
    }
  }
  const auto& programs = skeleton->progs;
  bpf_program__set_autoload(programs.hp_counted_from_port, entrance == Entrance::port);
  bpf_program__set_autoload(programs.hp_counted_from_host, entrance == Entrance::host);
  bpf_program__set_autoload(programs.hp_counted_from_tunnel, entrance == Entrance::tunnel);
  if (int result = homeport_count_bpf__load(skeleton.get()); result < 0) {
    return failed("the programs cannot be loaded", -result);
  }
  return skeleton;
}

const bpf_program* program_of(const Skeleton& skeleton, Entrance entrance) {
  switch (entrance) {
    case Entrance::port:
      return skeleton->progs.hp_counted_from_port;
    case Entrance::host:
      return skeleton->progs.hp_counted_from_host;
    case Entrance::tunnel:
      break;
  }
  return skeleton->progs.hp_counted_from_tunnel;
}

}  // namespace

/// Attached for as long as it lives.
class EbpfCounters::Program {
 public:
  /// `from_tunnel`: it is at the VXLAN device, which such packets all have to pass then.
  Program(Skeleton skeleton, UniqueFd link, bool from_tunnel)
      : skeleton_(std::move(skeleton)), link_(std::move(link)) {
    // The setting is shared with the datapath.
    if (from_tunnel) long_way_.emplace(skeleton_->bss->hp_fast_off);
  }

  TraceCounts counts() const {
    TraceCounts counts;
    for (std::uint32_t slot = 0; slot < HP_COUNTED_SLOTS; ++slot) {
      auto sum = read_per_cpu<std::uint64_t>(bpf_map__fd(skeleton_->maps.hp_counted), slot);
      // A slot of an array is always there.
      if (sum && *sum > 0) counts[kNames[slot]] = *sum;
    }
    return counts;
  }

 private:
  Skeleton skeleton_;
  UniqueFd link_;
  std::optional<EbpfObject::LongWay> long_way_;
};

class EbpfCounters::Counter final : public TraceCounter {
 public:
  explicit Counter(std::shared_ptr<Program> program)
      : program_(std::move(program)), before_(program_->counts()) {}

  TraceCounts counts() const override {
    TraceCounts counts = program_->counts();
    for (const auto& [name, count] : before_) counts[name] -= count;
    std::erase_if(counts, [](const auto& item) { return item.second == 0; });
    return counts;
  }

 private:
  std::shared_ptr<Program> program_;
  TraceCounts before_;
};

Result<std::unique_ptr<TraceCounter>> EbpfCounters::count(const EbpfObject& object,
                                                          Entrance entrance, std::uint32_t ifindex,
                                                          policy::Vni vni,
                                                          const TracedPacket& packet) {
  hp_counted_packet wanted{};
  wanted.vni = vni;
  wanted.protocol = packet.protocol;
  std::copy_n(ip_key(packet.source).bytes, sizeof(wanted.from), wanted.from);
  std::copy_n(ip_key(packet.destination).bytes, sizeof(wanted.to), wanted.to);

  const std::lock_guard lock(mutex_);
  std::erase_if(programs_, [](const auto& item) { return item.second.expired(); });
  const Key key{ifindex, wanted};
  if (auto found = programs_.find(key); found != programs_.end()) {
    // It may go at this very moment, on another thread.
    if (auto program = found->second.lock()) {
      return std::unique_ptr<TraceCounter>(new Counter(std::move(program)));
    }
  }
  if (programs_.size() >= kMostCounted) {
    return policy::make_error(
        boost::system::errc::device_or_resource_busy,
        fmt::format("{} kinds of packets are counted on this host, which is the limit: end a trace",
                    kMostCounted));
  }
  auto skeleton = load(object, entrance, wanted);
  if (!skeleton) return skeleton.error();
  const int link =
      bpf_link_create(bpf_program__fd(program_of(*skeleton, entrance)), static_cast<int>(ifindex),
                      entrance == Entrance::host ? kTcxEgress : kTcxIngress, nullptr);
  if (link < 0) return failed("the programs cannot be attached", -link);
  auto program =
      std::make_shared<Program>(std::move(*skeleton), UniqueFd(link), entrance == Entrance::tunnel);
  programs_[key] = program;
  return std::unique_ptr<TraceCounter>(new Counter(std::move(program)));
}

}  // namespace homeport::overlay
