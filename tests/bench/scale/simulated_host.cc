#include "tests/bench/scale/simulated_host.h"

#include "agent/network/desired_state.h"
#include "overlay/pause.h"
#include "tests/bench/scale/memory_datapath.h"

#include <functional>
#include <utility>

namespace homeport::bench {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

constexpr auto kHeartbeat = 10s;

agent::DatabaseOptions options(const std::string& remotes, const std::string& name) {
  agent::DatabaseOptions options;
  options.session.remotes = remotes;
  // The start of a thousand hosts at once keeps the server busy for longer than that of one.
  options.session.probe_interval = 60s;
  options.operation_timeout = 600s;
  options.host = name;
  return options;
}

}  // namespace

SimulatedHost::SimulatedHost(asio::any_io_executor executor, const std::string& remotes,
                             std::string name, std::vector<Event>& known)
    : SimulatedHost(executor, remotes, name,
                    std::make_unique<MemoryDatapath>(
                        [this, &known](const hp_address_key& key, const hp_address& value) {
                          ++written_;
                          if (!noting_) return;
                          known.push_back({name_, key.vni, overlay::mac_address(key.mac),
                                           value.generation, Clock::now()});
                        })) {}

SimulatedHost::SimulatedHost(asio::any_io_executor executor, const std::string& remotes,
                             std::string name, std::unique_ptr<overlay::Datapath> datapath)
    : name_(std::move(name)),
      datapath_(std::move(datapath)),
      database_(std::move(executor), options(remotes, name_)),
      network_(database_, *datapath_, {.host = name_, .mtu_limit = 1430},
               {[this] { return taps(); },
                [this](const auto& device) { return taps().contains(device); }}) {
  database_.on_change([this] {
    const auto begun = Clock::now();
    network_.follow(database_.changes());
    busy_ += Clock::now() - begun;
    noting_ = noting_ || ready();
  });
}

/// Whatever is here runs.
std::set<std::string> SimulatedHost::taps() const {
  std::set<std::string> taps;
  for (const agent::Binding* binding : database_.contents().bindings.at_home()) {
    taps.insert(agent::tap_name(binding->name));
  }
  return taps;
}

asio::awaitable<void> SimulatedHost::live() {
  const auto share = std::hash<std::string>{}(name_) % 10000;
  co_await overlay::pause(std::chrono::milliseconds(share));
  auto status = [this] {
    agent::HostStatus status;
    status.host = name_;
    status.state = agent::HostState::ready;
    return status;
  };
  co_await database_.keep_alive(status, kHeartbeat);
}

asio::awaitable<bool> SimulatedHost::move_one(std::uint64_t random, std::vector<Event>& moves) {
  const agent::Contents& contents = database_.contents();
  const auto here = contents.bindings.at_home();
  if (here.empty()) co_return false;
  const agent::Binding binding = *here[random % here.size()];
  std::vector<std::string> others;
  for (const auto& [name, other] : contents.bindings) {
    if (other.network == binding.network && other.location != name_) {
      others.push_back(other.location);
    }
  }
  if (others.empty() || !moving_.insert(binding.name).second) co_return false;
  const policy::Vni vni = contents.networks.at(binding.network).vni;
  const std::string to = others[random / here.size() % others.size()];
  const auto begun = Clock::now();
  auto outcome = co_await database_.commit_move(binding.application, name_, to, binding.generation);
  moving_.erase(binding.name);
  const bool committed = outcome && *outcome == agent::Outcome::committed;
  if (committed) moves.push_back({to, vni, binding.mac, binding.generation + 1, begun});
  co_return committed;
}

std::size_t SimulatedHost::missed() {
  noting_ = false;
  written_ = 0;
  network_.reconcile();
  return written_;
}

}  // namespace homeport::bench
