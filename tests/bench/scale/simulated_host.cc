#include "tests/bench/scale/simulated_host.h"

#include "agent/network/desired_state.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"
#include "tests/bench/scale/memory_datapath.h"

#include <functional>
#include <utility>

namespace homeport::bench {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

constexpr auto kPreparePatience = 5s;
constexpr const char* kEverywhere = "everywhere";  ///< The one host that is in all networks.

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
                             std::string name, Send send, std::vector<Event>& known)
    : SimulatedHost(executor, remotes, name,
                    std::make_unique<MemoryDatapath>(
                        [this, &known](const hp_address_key& key, const hp_address& value) {
                          ++written_;
                          if (!noting_) return;
                          known.push_back({name_, key.vni, overlay::mac_address(key.mac),
                                           value.generation, Clock::now()});
                        })) {
  send_ = std::move(send);
}

SimulatedHost::SimulatedHost(asio::any_io_executor executor, const std::string& remotes,
                             std::string name, std::unique_ptr<overlay::Datapath> datapath)
    : name_(std::move(name)),
      departures_(name_),
      datapath_(std::move(datapath)),
      executor_(std::move(executor)),
      database_(executor_, options(remotes, name_)),
      network_(database_, *datapath_, {.host = name_, .mtu_limit = 1430},
               {[this] { return taps(); },
                [this](const auto& device) { return taps().contains(device); }}) {
  database_.on_change([this] {
    const auto begun = Clock::now();
    network_.follow(database_.changes());
    busy_ += Clock::now() - begun;
    noting_ = noting_ || ready();
    if (telling_) tell();
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
  co_await database_.keep_alive(status);
}

const std::vector<std::string>& SimulatedHost::others_of(const std::string& network) {
  auto [known, is_new] = others_.try_emplace(network);
  if (!is_new) return known->second;
  for (const auto& [name, other] : database_.contents().bindings) {
    if (other.network == network && other.location != name_ && other.location != kEverywhere) {
      known->second.push_back(other.location);
    }
  }
  return known->second;
}

/// In the place of Prepare, of which this is the part that concerns the database, and its answer.
asio::awaitable<bool> SimulatedHost::prepare(std::string to, const agent::Binding& binding) {
  const std::string application = binding.application;
  auto row = database_.contents().applications.find(application);
  if (row == database_.contents().applications.end()) co_return false;
  send_({to,
         name_,
         "prepare",
         {application, agent::to_string(row->second.uuid), agent::to_string(binding.uuid)}});
  const auto deadline = Clock::now() + kPreparePatience;
  while (!prepared_.contains(application) && Clock::now() < deadline) co_await overlay::pause(2ms);
  co_return prepared_.erase(application) > 0;
}

asio::awaitable<void> SimulatedHost::prepare_here(Letter letter) {
  const std::string application = letter.words.at(0);
  agent::KnownRows rows;
  rows.application = agent::parse_uuid(letter.words.at(1));
  if (auto binding = agent::parse_uuid(letter.words.at(2))) rows.bindings.push_back(*binding);
  database_.expect(application, std::move(rows));
  const auto deadline = Clock::now() + kPreparePatience;
  while (!database_.settled() || !database_.contents().applications.contains(application)) {
    if (Clock::now() > deadline) co_return;
    co_await overlay::pause(2ms);
  }
  send_({letter.from, name_, "prepared", {application}});
}

void SimulatedHost::tell_others() {
  telling_ = true;
  departures_.follow(database_.contents(), network_.been_here(), Clock::now());
  for (const std::string& peer : departures_.peers()) {
    for (const agent::Moved& moved : departures_.untold(peer)) {
      departures_.confirmed(peer, moved.binding, moved.generation, Clock::now());
    }
  }
}

void SimulatedHost::tell() {
  departures_.follow(database_.contents(), network_.been_here(), Clock::now());
  for (const std::string& peer : departures_.peers()) {
    for (const agent::Moved& moved : departures_.untold(peer)) {
      // It is not there while there is a fleet.
      if (peer == kEverywhere) {
        departures_.confirmed(peer, moved.binding, moved.generation, Clock::now());
        continue;
      }
      const std::string generation = std::to_string(moved.generation);
      if (!told_.emplace(peer, moved.binding + ' ' + generation).second) continue;
      send_({peer, name_, "moved", {moved.binding, moved.host, generation}});
    }
  }
  for (const std::string& binding : departures_.settled(Clock::now())) network_.settled(binding);
}

void SimulatedHost::receive(const Letter& letter) {
  if (letter.kind == "prepare") {
    overlay::spawn(executor_, prepare_here(letter));
  } else if (letter.kind == "prepared") {
    prepared_.insert(letter.words.at(0));
  } else if (letter.kind == "moved") {
    const auto begun = Clock::now();
    const std::string why = network_.hear(
        letter.from, {letter.words.at(0), letter.words.at(1), std::stoull(letter.words.at(2))});
    busy_ += Clock::now() - begun;
    if (!why.empty()) return;
    send_({letter.from, name_, "heard", {letter.words.at(0), letter.words.at(2)}});
  } else if (letter.kind == "heard") {
    departures_.confirmed(letter.from, letter.words.at(0), std::stoull(letter.words.at(1)),
                          Clock::now());
  }
}

asio::awaitable<bool> SimulatedHost::move_one(std::uint64_t random, std::vector<Event>& moves) {
  const agent::Contents& contents = database_.contents();
  const auto here = contents.bindings.at_home();
  if (here.empty()) co_return false;
  const agent::Binding binding = *here[random % here.size()];
  const std::vector<std::string>& others = others_of(binding.network);
  if (others.empty() || !moving_.insert(binding.name).second) co_return false;
  const policy::Vni vni = contents.networks.at(binding.network).vni;
  const std::string to = others[random / here.size() % others.size()];
  const bool prepared = co_await prepare(to, binding);
  if (!prepared) {
    moving_.erase(binding.name);
    co_return false;
  }
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
