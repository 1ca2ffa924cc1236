#include "agent/peers.h"

#include <fmt/format.h>

namespace homeport::agent {

void Peers::follow(const ControlDatabase& database) {
  const Changes& changes = database.changes();
  auto changed = [&](const char* table) { return changes.all || changes.tables.contains(table); };
  if (changed(Host::kTable)) {
    auto fingerprints = std::make_shared<Fingerprints>();
    for (const auto& [name, host] : database.hosts()) {
      if (!host.certificate_sha256.empty()) fingerprints->emplace(name, host.certificate_sha256);
    }
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

bool Peers::alive(const Contents& contents, const std::string& host) const {
  auto sign = signs_.find(host);
  if (sign == signs_.end() || !sign->second.heard) {
    return !is_silent(contents, host, wall_clock_now());
  }
  return std::chrono::steady_clock::now() - *sign->second.heard <= kAliveWithin;
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
