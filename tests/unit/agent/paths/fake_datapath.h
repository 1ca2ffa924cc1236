// A datapath that remembers what it is told, as the kernel does when the agent is gone.
#pragma once

#include "overlay/datapath/datapath.h"
#include "tests/unit/agent/paths/fake_probe_wire.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent::test {

class FakeDatapath final : public overlay::Datapath {
 public:
  policy::Result<void> apply(const overlay::DesiredState& desired) override {
    ++applied;
    const auto done = std::chrono::steady_clock::now() + apply_takes;
    while (std::chrono::steady_clock::now() < done) {
    }
    state = desired;
    return {};
  }
  policy::Result<bool> update(const overlay::StateChange&) override { return updates; }
  const std::vector<std::string>& mended() const override { return mended_; }
  policy::Result<overlay::DesiredState> read_back() override { return state; }
  policy::Result<void> set_address(const overlay::AddressEntry&) override { return {}; }
  policy::Result<void> set_path(const overlay::PathEntry& entry) override {
    if (auto good = check_path(entry); !good) return good.error();
    ++paths_set;
    std::erase_if(state.paths, [&](const overlay::PathEntry& other) {
      return other.vtep == entry.vtep && other.traffic_class == entry.traffic_class;
    });
    state.paths.push_back(entry);
    return {};
  }
  policy::Result<std::unique_ptr<overlay::ProbeWire>> probe_wire() override {
    return std::make_unique<FakeProbeWire>(underlay);
  }
  policy::Result<overlay::PortCounters> counters(const std::string&) override {
    return overlay::PortCounters{};
  }
  policy::Result<overlay::TotalCounters> counters() override { return overlay::TotalCounters{}; }

  std::optional<overlay::ProbePair> way(const policy::IpAddress& vtep,
                                        policy::TrafficClass traffic) const {
    for (const overlay::PathEntry& path : state.paths) {
      if (path.vtep == vtep && path.traffic_class == traffic) {
        return overlay::ProbePair{path.local, path.remote};
      }
    }
    return std::nullopt;
  }
  std::set<policy::IpAddress> aliases(const policy::IpAddress& vtep) const {
    std::set<policy::IpAddress> addresses;
    for (const overlay::VtepAlias& alias : state.aliases) {
      if (alias.vtep == vtep) addresses.insert(alias.address);
    }
    return addresses;
  }

  overlay::DesiredState state;
  bool updates = false;  ///< changes are taken, of which `state` does not tell
  FakeUnderlay underlay;
  std::chrono::milliseconds apply_takes{0};  ///< of the caller's time
  int applied = 0;
  int paths_set = 0;

 private:
  std::vector<std::string> mended_;
};

}  // namespace homeport::agent::test
