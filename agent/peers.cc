#include "agent/peers.h"

#include <fmt/format.h>

namespace homeport::agent {

void Peers::follow(const Contents& contents) {
  auto fingerprints = std::make_shared<Fingerprints>();
  for (const auto& [name, host] : contents.hosts) {
    if (!host.certificate_sha256.empty()) fingerprints->emplace(name, host.certificate_sha256);
  }
  std::lock_guard lock(shared_->mutex);
  shared_->fingerprints = std::move(fingerprints);
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
