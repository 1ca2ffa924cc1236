#include "agent/peers.h"

#include "overlay/log/log.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace homeport::agent {

namespace {

constexpr std::size_t kMostNamed = 8;

std::string few_of(const std::vector<std::string>& names) {
  const auto end = names.begin() + std::min(names.size(), kMostNamed);
  std::string text = fmt::format("{}", fmt::join(names.begin(), end, ", "));
  if (names.size() > kMostNamed) text += fmt::format(" and {} more", names.size() - kMostNamed);
  return text;
}

}  // namespace

void Peers::follow(const ControlDatabase& database) {
  const Changes& changes = database.changes();
  auto changed = [&](const char* table) { return changes.all || changes.tables.contains(table); };
  if (changed(Host::kTable)) {
    auto fingerprints = std::make_shared<Fingerprints>();
    for (const auto& [name, host] : database.hosts()) {
      if (!host.certificate_sha256.empty()) fingerprints->emplace(name, host.certificate_sha256);
    }
    report(*fingerprints);
    std::lock_guard lock(shared_->mutex);
    shared_->fingerprints = std::move(fingerprints);
  }
  if (!changed(HostStatus::kTable)) return;
  const auto& statuses = database.host_status();
  std::erase_if(signs_, [&](const auto& it) { return !statuses.contains(it.first); });
  for (const auto& [name, status] : statuses) {
    auto [sign, is_new] = signs_.try_emplace(name, Sign{status.last_seen, std::nullopt});
    if (is_new || sign->second.said == status.last_seen) continue;
    sign->second = {status.last_seen, std::chrono::steady_clock::now()};
  }
}

/// Whoever removes a host's row while its agent runs takes it from the network for so long.
void Peers::report(const Fingerprints& now) {
  std::vector<std::string> gone, back;
  for (const auto& [name, sha256] : *shared_->fingerprints) {  // written on this executor only
    if (!now.contains(name) && gone_.insert(name).second) gone.push_back(name);
  }
  std::erase_if(gone_, [&](const std::string& name) {
    if (!now.contains(name)) return false;
    back.push_back(name);
    return true;
  });
  if (!gone.empty()) {
    overlay::log::warn(
        "gone from the control database: {}. Nothing is carried to a host or from it, and it is "
        "refused as a peer, until its row in the table Host is there again",
        few_of(gone));
  }
  if (!back.empty()) {
    overlay::log::info("in the control database again: {}", few_of(back));
  }
}

bool Peers::alive(const Contents& contents, const std::string& host) const {
  auto sign = signs_.find(host);
  if (sign == signs_.end() || !sign->second.heard) {
    return !is_silent(contents, host, wall_clock_now());
  }
  return std::chrono::steady_clock::now() - *sign->second.heard <=
         alive_within(contents.hosts.size());
}

overlay::PeerCheck Peers::check() const {
  return [shared = shared_](const std::string& host,
                            const std::string& sha256) -> policy::Result<void> {
    std::shared_ptr<const Fingerprints> known;
    {
      std::lock_guard lock(shared->mutex);
      known = shared->fingerprints;
    }
    auto found = known->find(host);
    if (found == known->end()) {
      return policy::make_error(
          boost::system::errc::permission_denied,
          fmt::format("no host {} with a certificate in the control database", host));
    }
    if (found->second != sha256) {
      return policy::make_error(
          boost::system::errc::permission_denied,
          fmt::format("the certificate of {} is not the one in the control database", host));
    }
    return {};
  };
}

}  // namespace homeport::agent
