#include "overlay/datapath/ovs/answerer.h"

#include "overlay/datapath/ovs/fragment.h"
#include "overlay/datapath/ovs/pipeline.h"
#include "overlay/datapath/ovs/too_big.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <utility>

namespace homeport::overlay::ovs {

using vswitch::Meter;

namespace {

/// As much as networks with jumbo frames are set to.
constexpr std::uint32_t kTapMtu = 9216;

}  // namespace

std::vector<std::string> narrow_taps(const std::vector<Port>& ports,
                                     const std::vector<Link>& links) {
  std::vector<std::string> narrow;
  for (const Port& port : ports) {
    auto link = std::ranges::find(links, port.device, &Link::name);
    if (link == links.end() || link->kind != "tun" || link->mtu >= kTapMtu) continue;
    narrow.push_back(port.device);
  }
  return narrow;
}

Result<void> widen_taps(const std::vector<Port>& ports, const std::vector<Link>& links) {
  for (const std::string& tap : narrow_taps(ports, links)) {
    if (auto set = set_link_mtu(tap, kTapMtu); !set) return set;
  }
  return {};
}

struct Answerer::Counts {
  std::atomic<std::uint64_t> answered = 0, cut = 0, dropped = 0;
};

void Answerer::start(std::shared_ptr<Probes> probes) {
  counts_ = std::make_shared<Counts>();
  auto answer = [counts = counts_,
                 probes = std::move(probes)](const vswitch::PuntedPacket& packet) {
    vswitch::PuntedReply reply;
    if ((packet.cookie & kCookieMask) != kCookie || probes->take(packet)) return reply;
    const auto tag = read_tag(packet.tag);
    if (auto parts = tag ? cut(packet.frame, tag->mtu) : std::nullopt) {
      if (parts->size() <= packet.room) {
        reply = {std::move(*parts), tag->table};
        ++counts->cut;
        return reply;
      }
    } else if (auto answer = tag ? answer_too_big(packet.frame, packet.length, *tag) : std::nullopt;
               answer && packet.room > 0) {
      reply.frames.push_back(std::move(*answer));
      ++counts->answered;
      return reply;
    }
    ++counts->dropped;
    return reply;
  };
  bridge_.answer_punted(kController, answer);
}

namespace {

/// Of the tunnel, whose probes are handed over, and of the ports of which what is too big is.
std::map<std::uint32_t, std::uint32_t> wanted_rates(const std::vector<Port>& applications,
                                                    const BridgePorts& ports) {
  std::map<std::uint32_t, std::uint32_t> rates{{meter_of(ports.tunnel), kProbeRate}};
  if (!ports.answers_too_big) return rates;
  for (const Port& port : applications) {
    rates[meter_of(ports.numbers.at(port.device))] = kTooBigRate;
  }
  if (ports.host != 0) rates[meter_of(ports.host)] = kTooBigRate;
  return rates;
}

}  // namespace

/// Of Homeport's meters in the bridge.
Result<std::map<std::uint32_t, std::uint32_t>> Answerer::rates() {
  auto meters = bridge_.meters(false);
  if (!meters) return meters.error();
  std::map<std::uint32_t, std::uint32_t> rates;
  for (const Meter& meter : *meters) {
    if ((meter.id & kMeterMask) == kMeter) rates[meter.id] = meter.rate;
  }
  return rates;
}

Result<void> Answerer::keep_meters(const std::vector<Port>& applications, const BridgePorts& ports,
                                   std::vector<std::string>& mended) {
  auto rates = this->rates();
  if (!rates) return rates.error();
  auto wanted = wanted_rates(applications, ports);
  for (const auto& [id, rate] : wanted) {
    auto found = rates->find(id);
    const bool missing = found == rates->end();
    if (!missing && found->second == rate) continue;
    if (left_.contains(id)) {
      mended.push_back(fmt::format("the meter {} was {}", id, missing ? "missing" : "changed"));
    }
    const Meter meter{id, rate};
    auto made = missing ? bridge_.add_meter(meter) : bridge_.modify_meter(meter);
    if (!made) return made;
  }
  others_.clear();
  for (const auto& [id, rate] : *rates) {
    if (!wanted.contains(id)) others_.insert(id);
  }
  left_ = std::move(wanted);
  return {};
}

Result<void> Answerer::drop_meters() {
  for (const std::uint32_t id : std::exchange(others_, {})) {
    if (auto gone = bridge_.remove_meter(id); !gone) return gone;
  }
  return {};
}

Result<bool> Answerer::untouched() {
  auto rates = this->rates();
  if (!rates) return rates.error();
  return *rates == left_;
}

Result<void> Answerer::count(TotalCounters& totals) {
  auto meters = bridge_.meters(true);
  if (!meters) return meters.error();
  totals.too_big_answers += counts_->answered;
  totals.fragmented += counts_->cut;
  totals.drop_too_big += counts_->dropped;
  for (const Meter& meter : *meters) {
    auto ours = left_.find(meter.id);
    // A probe that is dropped is one that gets lost.
    if (ours != left_.end() && ours->second == kTooBigRate) totals.drop_too_big += meter.dropped;
  }
  return {};
}

}  // namespace homeport::overlay::ovs
