#include "overlay/datapath/ebpf_probe_wire.h"

#include "overlay/datapath/ebpf/probe.h"
#include "overlay/datapath/map_image.h"
#include "overlay/datapath/probe_frame.h"
#include "overlay/datapath/probe_sender.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

namespace homeport::overlay {

namespace {

/// A pair that has been silent for so long is forgotten.
constexpr std::chrono::hours kForgotten{1};
/// Which entries there are of hp_paths is read again after this: to walk through a map that has
/// room for 65,536 takes longer than to look 100 entries up.
constexpr std::chrono::seconds kKeysHold{1};
/// Answers taken in one call, so that it ends however fast they come.
constexpr int kMostAtOnce = 4096;

struct FreeRing {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

ProbePair pair_of(const hp_probe_pair& pair) {
  return {vtep_address(pair.local), vtep_address(pair.remote)};
}

std::optional<ProbeTime> noted(__u64 when) {
  if (when == 0) return std::nullopt;
  return probe_time(when);
}

class EbpfProbeWire final : public ProbeWire {
 public:
  EbpfProbeWire(const EbpfObject& object, std::uint16_t udp_port)
      : object_(object), sender_(udp_port) {}

  Result<void> open() {
    ring_.reset(ring_buffer__new(object_.probe_answers_fd(), &EbpfProbeWire::take, this, nullptr));
    if (!ring_) return policy::errno_error("The answers to probes cannot be read");
    return {};
  }

  Result<void> ask(const ProbeAsk& ask) override { return sender_.send(ask); }
  int answers_fd() const override { return ring_buffer__epoll_fd(ring_.get()); }

  void take_answers(const std::function<void(const ProbeAnswer&)>& take) override {
    take_ = &take;
    left_ = kMostAtOnce;
    ring_buffer__consume(ring_.get());
    take_ = nullptr;
  }

  Result<std::vector<ProbesHeard>> heard() override {
    std::vector<ProbesHeard> all;
    std::vector<hp_probe_pair> forgotten;
    const ProbeTime oldest = std::chrono::steady_clock::now() - kForgotten;
    auto read = object_.asks().for_each([&](const hp_probe_pair& pair, const hp_asked& asked) {
      const ProbeTime last = probe_time(asked.last);
      if (last < oldest) {
        forgotten.push_back(pair);
      } else {
        all.push_back({pair_of(pair), asked.count, last});
      }
    });
    if (!read) return read.error();
    for (const hp_probe_pair& pair : forgotten) {
      if (auto gone = object_.asks().remove(pair); !gone) return gone.error();
    }
    return all;
  }

  Result<std::vector<WayUsed>> used() override {
    const ProbeTime now = std::chrono::steady_clock::now();
    if (now - keys_read_ >= kKeysHold) {
      keys_.clear();
      auto read = object_.paths().for_each(
          [&](const hp_path_key& key, const hp_path&) { keys_.push_back(key); });
      if (!read) return read.error();
      keys_read_ = now;
    }
    // Several classes may have the same way, and several ways end at the same address.
    std::map<ProbePair, WayUsed> ways;
    MapContents<hp_vtep, std::optional<ProbeTime>> heard;
    for (const hp_path_key& key : keys_) {
      const auto path = object_.paths().find_with_notes(key);
      if (!path) continue;  // It has gone meanwhile.
      const ProbePair pair{vtep_address(path->local), vtep_address(path->remote)};
      WayUsed& way = ways[pair];
      way.pair = pair;
      way.sent = std::max(way.sent, noted(path->sent));
      auto [from, is_new] = heard.try_emplace(path->remote);
      if (is_new) {
        const auto host = object_.vteps().find_with_notes(path->remote);
        if (host) from->second = noted(host->heard);
      }
      way.heard = from->second;
    }
    std::vector<WayUsed> all;
    all.reserve(ways.size());
    for (const auto& [pair, way] : ways) all.push_back(way);
    return all;
  }

 private:
  static int take(void* self, void* bytes, std::size_t size) {
    auto& wire = *static_cast<EbpfProbeWire*>(self);
    hp_probe_answer answer{};
    std::memcpy(&answer, bytes, std::min(size, sizeof(answer)));
    std::optional<std::uint64_t> heard;
    if (answer.heard != 0) heard = answer.heard;
    (*wire.take_)({pair_of(answer.pair), answer.token, probe_time(answer.sent),
                   probe_time(answer.received), answer.length + outer_bytes(answer.pair.local.v6),
                   heard});
    // Less than 0 ends it, behind this one.
    return --wire.left_ > 0 ? 0 : -1;
  }

  const EbpfObject& object_;
  ProbeSender sender_;
  std::unique_ptr<ring_buffer, FreeRing> ring_;
  const std::function<void(const ProbeAnswer&)>* take_ = nullptr;
  int left_ = 0;
  std::vector<hp_path_key> keys_;
  ProbeTime keys_read_{};
};

}  // namespace

Result<std::unique_ptr<ProbeWire>> make_ebpf_probe_wire(const EbpfObject& object,
                                                        std::uint16_t udp_port) {
  auto wire = std::make_unique<EbpfProbeWire>(object, udp_port);
  if (auto opened = wire->open(); !opened) return opened.error();
  return wire;
}

}  // namespace homeport::overlay
