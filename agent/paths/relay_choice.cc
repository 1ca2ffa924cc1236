#include "agent/paths/relay_choice.h"

#include "agent/network/desired_state.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>

namespace homeport::agent {

namespace {

/// The `most` of them with the greatest hash of their name beside `of`.
std::vector<std::string> greatest(const std::vector<std::string>& hosts, const std::string& of,
                                  std::size_t most) {
  std::vector<std::pair<std::uint64_t, std::string>> rated;
  for (const std::string& host : hosts) {
    // No name has a space.
    const std::string text = host + " " + of;
    rated.emplace_back(XXH3_64bits(text.data(), text.size()), host);
  }
  std::ranges::sort(rated, std::greater<>());
  std::vector<std::string> chosen;
  for (auto& [hash, host] : rated) {
    if (chosen.size() < most) chosen.push_back(std::move(host));
  }
  return chosen;
}

}  // namespace

RelayChoice RelayChoice::of(const std::map<std::string, Host>& hosts,
                            const policy::IpAddress& vtep) {
  RelayChoice choice;
  for (const auto& [name, host] : hosts) {
    if (host.relays && vtep_towards(host, vtep)) choice.relays_.push_back(name);
  }
  choice.relays_ = greatest(choice.relays_, "", kMostRelays);
  return choice;
}

std::vector<std::string> RelayChoice::between(const std::string& one,
                                              const std::string& other) const {
  std::vector<std::string> third = relays_;
  std::erase_if(third, [&](const std::string& name) { return name == one || name == other; });
  return greatest(third, std::min(one, other) + " " + std::max(one, other), kMostRelaysOfPair);
}

}  // namespace homeport::agent
