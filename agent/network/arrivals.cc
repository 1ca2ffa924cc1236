#include "agent/network/arrivals.h"

#include "agent/network/departures.h"

namespace homeport::agent {

void Arrivals::came(Moved moved, std::string from, std::string proof, Time now) {
  std::string binding = moved.binding;
  arrivals_.insert_or_assign(std::move(binding), Arrival{.moved = std::move(moved),
                                                         .from = std::move(from),
                                                         .proof = std::move(proof),
                                                         .since = now});
}

void Arrivals::follow(const Contents& contents, Time now) {
  for (auto it = arrivals_.begin(); it != arrivals_.end();) {
    Arrival& arrival = it->second;
    auto binding = contents.bindings.find(it->first);
    // The database may not have come to it yet; what it has of a newer generation is another move.
    if (now - arrival.since > kFor || binding == contents.bindings.end() ||
        binding->second.generation > arrival.moved.generation) {
      it = arrivals_.erase(it);
      continue;
    }
    arrival.waiting = senders(contents, binding->second.network, host_);
    arrival.waiting.erase(arrival.from);  // it has said so itself
    for (const std::string& peer : arrival.confirmed) arrival.waiting.erase(peer);
    ++it;
  }
}

void Arrivals::confirmed(const std::string& peer, const std::string& binding,
                         policy::Generation generation) {
  auto found = arrivals_.find(binding);
  if (found == arrivals_.end() || found->second.moved.generation != generation) return;
  if (found->second.waiting.erase(peer) > 0) found->second.confirmed.insert(peer);
}

std::vector<Moved> Arrivals::untold(const std::string& peer) const {
  std::vector<Moved> moved;
  for (const auto& [name, arrival] : arrivals_) {
    if (arrival.waiting.contains(peer)) moved.push_back(arrival.moved);
  }
  return moved;
}

const std::string* Arrivals::proof(const Moved& moved) const {
  auto found = arrivals_.find(moved.binding);
  return found == arrivals_.end() || found->second.moved != moved ? nullptr : &found->second.proof;
}

std::set<std::string> Arrivals::peers() const {
  std::set<std::string> peers;
  for (const auto& [name, arrival] : arrivals_) {
    peers.insert(arrival.waiting.begin(), arrival.waiting.end());
  }
  return peers;
}

}  // namespace homeport::agent
