#include "agent/network/hearsay.h"

#include <fmt/format.h>

namespace homeport::agent {

Hearsay::Judgement Hearsay::hear(const Contents& contents, bool reading, const std::string& from,
                                 const Moved& moved, Time now) {
  auto binding = contents.bindings.find(moved.binding);
  if (binding == contents.bindings.end()) {
    if (reading) {
      return {Verdict::refused, fmt::format("this host is reading rows of the control database, "
                                            "and has none of {} yet",
                                            moved.binding)};
    }
    return {};  // Nothing is sent there from here by an older word either.
  }
  std::string owner = binding->second.location;
  policy::Generation generation = binding->second.generation;
  const bool from_database = !told_.contains(moved.binding);
  if (!from_database) {
    owner = told_.at(moved.binding).host;
    generation = told_.at(moved.binding).generation;
  }
  if (moved.generation < generation) return {};
  if (moved.generation == generation) {
    if (moved.host == owner) return {};
    // Anybody's word would let one host fill everybody's log.
    const bool concerned = from == owner || from == moved.host;
    if (concerned && contents.hosts.contains(moved.host)) alarm(binding->second, moved.host);
    return {Verdict::refused, fmt::format("{} is at {} by generation {} already", moved.binding,
                                          owner.empty() ? "no host" : owner, generation)};
  }
  if (from != owner) {
    return {Verdict::refused, fmt::format("{} is not known to have been at {}, which says that it "
                                          "is at {} now",
                                          moved.binding, from, moved.host)};
  }
  auto host = contents.hosts.find(moved.host);
  if (host == contents.hosts.end() || host->second.vteps.empty()) {
    return {Verdict::refused,
            fmt::format("there is no host {} with a VTEP in the control database", moved.host)};
  }
  told_[moved.binding] = {moved.host, moved.generation, now};
  return {Verdict::news, {}};
}

void Hearsay::follow(const Contents& contents, bool synced, Time now) {
  std::erase_if(alarms_, [&](const auto& item) {
    auto binding = contents.bindings.find(item.first);
    return binding == contents.bindings.end() ||
           binding->second.generation > item.second.generation;
  });
  std::erase_if(told_, [&](const auto& item) {
    const auto& [name, told] = item;
    auto binding = contents.bindings.find(name);
    if (binding == contents.bindings.end()) return true;
    if (binding->second.generation < told.generation)
      return synced && now - told.since > kUnconfirmed;
    if (binding->second.generation == told.generation && binding->second.location != told.host) {
      alarm(binding->second, told.host);
    }
    return true;
  });
}

void Hearsay::alarm(const Binding& binding, const std::string& host) {
  alarms_[binding.name] = {
      binding.generation,
      fmt::format("{} is said to be at {} and at {} by the same generation {}: what the control "
                  "database says ({}) is kept; see what runs on both hosts, and whether the "
                  "database was restored from an older copy",
                  binding.name, binding.location.empty() ? "no host" : binding.location, host,
                  binding.generation, binding.location.empty() ? "no host" : binding.location)};
}

std::vector<std::string> Hearsay::alarms() const {
  std::vector<std::string> sentences;
  for (const auto& [name, alarm] : alarms_) sentences.push_back(alarm.sentence);
  return sentences;
}

}  // namespace homeport::agent
