#include "agent/network/departures.h"

namespace homeport::agent {

std::set<std::string> senders(const Contents& contents, const std::string& network,
                              const std::string& host) {
  std::set<std::string> hosts;
  auto row = contents.networks.find(network);
  if (row != contents.networks.end() && row->second.host_access) {
    for (const auto& [name, other] : contents.hosts) hosts.insert(name);
  } else {
    for (const auto& [name, binding] : contents.bindings) {
      if (binding.network == network && contents.hosts.contains(binding.location)) {
        hosts.insert(binding.location);
      }
    }
  }
  hosts.erase(host);
  return hosts;
}

void Departures::follow(const Contents& contents, const std::set<std::string>& been_here,
                        Time now) {
  std::map<std::string, std::set<std::string>> senders_of;  // a network; each is asked for once
  std::map<std::string, Departure> departures;
  for (const std::string& name : been_here) {
    auto row = contents.bindings.find(name);
    if (row == contents.bindings.end()) continue;
    const Binding& binding = row->second;
    if (binding.location.empty() || binding.location == host_) continue;
    Departure departure;
    if (auto before = departures_.find(name); before != departures_.end()) {
      departure = std::move(before->second);
    }
    Moved moved{name, binding.location, binding.generation};
    if (departure.moved != moved) departure = {.moved = std::move(moved)};
    auto [known, is_new] = senders_of.try_emplace(binding.network);
    if (is_new) known->second = senders(contents, binding.network, host_);
    departure.waiting = known->second;
    departure.waiting.erase(binding.location);  // it has the application
    for (const std::string& peer : departure.confirmed) departure.waiting.erase(peer);
    if (!departure.waiting.empty()) {
      departure.complete.reset();
    } else if (!departure.complete) {
      departure.complete = now;
    }
    departures.emplace(name, std::move(departure));
  }
  departures_ = std::move(departures);
}

void Departures::confirmed(const std::string& peer, const std::string& binding,
                           policy::Generation generation, Time now) {
  auto found = departures_.find(binding);
  if (found == departures_.end() || found->second.moved.generation != generation) return;
  Departure& departure = found->second;
  if (departure.waiting.erase(peer) == 0) return;
  departure.confirmed.insert(peer);
  if (departure.waiting.empty()) departure.complete = now;
}

std::vector<Moved> Departures::untold(const std::string& peer) const {
  std::vector<Moved> moved;
  for (const auto& [name, departure] : departures_) {
    if (departure.waiting.contains(peer)) moved.push_back(departure.moved);
  }
  return moved;
}

std::set<std::string> Departures::peers() const {
  std::set<std::string> peers;
  for (const auto& [name, departure] : departures_) {
    peers.insert(departure.waiting.begin(), departure.waiting.end());
  }
  return peers;
}

std::vector<std::string> Departures::settled(Time now) const {
  std::vector<std::string> settled;
  for (const auto& [name, departure] : departures_) {
    if (departure.complete && now - *departure.complete >= kLinger) settled.push_back(name);
  }
  return settled;
}

}  // namespace homeport::agent
