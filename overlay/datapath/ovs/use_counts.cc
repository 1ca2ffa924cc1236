#include "overlay/datapath/ovs/use_counts.h"

#include "overlay/datapath/ovs/pipeline.h"
#include "overlay/datapath/ovs/records.h"

#include <utility>

namespace homeport::overlay::ovs {

namespace {

constexpr std::chrono::milliseconds kInterval{250};
/// Who has not asked for so long does not want to know any more.
constexpr std::chrono::seconds kWanted{1};
/// Others wait meanwhile for the thread that has the connections of Open vSwitch.
constexpr std::chrono::milliseconds kPatience{200};

vswitch::BridgeOptions impatient(vswitch::BridgeOptions options) {
  options.patience = kPatience;
  return options;
}

}  // namespace

void UseHistory::count(Counted& counted, bool is_new, std::uint64_t packets, ProbeTime now) {
  // What was counted before the first reading may have been long ago. A flow that has been written
  // anew begins at 0.
  if (!is_new && packets != counted.packets && packets > 0) counted.grown = now;
  counted.packets = packets;
}

void UseHistory::note(const std::vector<vswitch::Flow>& flows, ProbeTime now) {
  failures_ = 0;
  std::map<vswitch::FlowKey, Path> paths;
  std::map<policy::IpAddress, Counted> heard;
  for (const vswitch::Flow& flow : flows) {
    const DesiredState known = decompile({flow});
    if (!known.paths.empty()) {
      const ProbePair pair{known.paths[0].local, known.paths[0].remote};
      const auto before = paths_.find(flow.key);
      const bool is_new = before == paths_.end() || before->second.pair != pair;
      Path& path = paths[flow.key];
      path = is_new ? Path{pair, {}} : before->second;
      count(path.frames, is_new, flow.counts.packets, now);
    }
    std::optional<policy::IpAddress> from;
    if (!known.vteps.empty()) from = known.vteps[0];
    if (!known.aliases.empty()) from = known.aliases[0].address;
    if (!from) continue;
    const auto before = heard_.find(*from);
    const bool is_new = before == heard_.end();
    Counted& counted = heard[*from];
    if (!is_new) counted = before->second;
    count(counted, is_new, flow.counts.packets, now);
  }
  paths_ = std::move(paths);
  heard_ = std::move(heard);
}

std::vector<WayUsed> UseHistory::used() const {
  if (failures_ > 1) return {};
  std::map<ProbePair, WayUsed> ways;  // several classes may have the same
  for (const auto& [key, path] : paths_) {
    WayUsed& way = ways[path.pair];
    way.pair = path.pair;
    way.prompt = false;
    way.sent = std::max(way.sent, path.frames.grown);
    const auto heard = heard_.find(path.pair.remote);
    if (heard != heard_.end()) way.heard = heard->second.grown;
  }
  std::vector<WayUsed> all;
  for (const auto& [pair, way] : ways) all.push_back(way);
  return all;
}

UseCounts::UseCounts(vswitch::BridgeOptions bridge) : bridge_(impatient(std::move(bridge))) {}

UseCounts::~UseCounts() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wanted_.notify_one();
  if (thread_.joinable()) thread_.join();
}

std::vector<WayUsed> UseCounts::used() {
  const std::lock_guard lock(mutex_);
  wanted_at_ = std::chrono::steady_clock::now();
  if (!thread_.joinable()) thread_ = std::thread([this] { keep_reading(); });
  wanted_.notify_one();
  return used_;
}

std::optional<std::vector<vswitch::Flow>> UseCounts::read() {
  std::vector<vswitch::Flow> all;
  for (const Table table : {kPath, kFromTunnel}) {
    auto flows = bridge_.flows(kCookie, kCookieMask, table);
    if (!flows) return std::nullopt;
    all.insert(all.end(), flows->begin(), flows->end());
  }
  return all;
}

void UseCounts::keep_reading() {
  UseHistory history;
  std::unique_lock lock(mutex_);
  while (!ended_) {
    if (std::chrono::steady_clock::now() - wanted_at_ > kWanted) {
      used_.clear();
      wanted_.wait(lock);
      continue;
    }
    lock.unlock();
    const auto flows = read();
    if (flows) {
      history.note(*flows, std::chrono::steady_clock::now());
    } else {
      history.note_failure();
    }
    std::vector<WayUsed> used = history.used();
    lock.lock();
    used_ = std::move(used);
    wanted_.wait_for(lock, kInterval, [this] { return ended_; });
  }
}

}  // namespace homeport::overlay::ovs
