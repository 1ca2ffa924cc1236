#include "overlay/datapath/ovs/probes.h"

#include "overlay/datapath/ovs/pipeline.h"
#include "overlay/datapath/probe_frame.h"

#include <sys/eventfd.h>

namespace homeport::overlay::ovs {

namespace {

/// Waiting to be taken: of more, the rest is lost.
constexpr std::size_t kMostAnswers = 4096;
constexpr std::size_t kMostPairs = 65536;
/// A pair that has been silent for so long is forgotten.
constexpr std::chrono::hours kForgotten{1};

class OvsProbeWire final : public ProbeWire {
 public:
  OvsProbeWire(std::shared_ptr<Probes> probes, Asks& asks, const vswitch::BridgeOptions& bridge)
      : probes_(std::move(probes)), asks_(asks), use_(bridge) {}

  policy::Result<void> ask(const ProbeAsk& ask) override { return asks_.ask(ask); }
  int answers_fd() const override { return probes_->answers_fd(); }
  void take_answers(const std::function<void(const ProbeAnswer&)>& take) override {
    for (const ProbeAnswer& answer : probes_->take_answers()) take(answer);
  }
  policy::Result<std::vector<ProbesHeard>> heard() override { return probes_->heard(); }
  policy::Result<std::vector<WayUsed>> used() override { return use_.used(); }

 private:
  const std::shared_ptr<Probes> probes_;
  Asks& asks_;
  UseCounts use_;
};

}  // namespace

Probes::Probes(std::optional<policy::IpAddress> local_vtep)
    : local_vtep_(std::move(local_vtep)), event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

bool Probes::take(const vswitch::PuntedPacket& packet) {
  if (packet.tag.size() != 1) return false;
  const auto tag = static_cast<std::uint8_t>(packet.tag[0]);
  if (tag != kAskTag && tag != kAnswerTag) return false;
  const auto said = read_probe(packet.frame);
  // An ask has been turned round before it is handed over.
  ProbePair pair{packet.tunnel_source, packet.tunnel_destination};
  if (tag == kAnswerTag) std::swap(pair.local, pair.remote);
  if (pair.local.is_unspecified() && local_vtep_) pair.local = *local_vtep_;
  if (!said || pair.local.is_v6() != pair.remote.is_v6()) return true;
  const ProbeTime now = std::chrono::steady_clock::now();
  if (tag == kAskTag) {
    asked(pair, now);
  } else {
    const auto length = static_cast<std::uint32_t>(packet.length);
    answered({pair, said->token, said->sent, now, length + outer_bytes(pair.local.is_v6()),
              said->heard});
  }
  return true;
}

void Probes::answered(const ProbeAnswer& answer) {
  const std::lock_guard lock(mutex_);
  if (answers_.size() >= kMostAnswers) return;
  answers_.push_back(answer);
  ::eventfd_write(event_.get(), 1);
}

void Probes::asked(const ProbePair& pair, ProbeTime when) {
  const std::lock_guard lock(mutex_);
  if (asked_.size() >= kMostPairs && !asked_.contains(pair)) return;
  Asked& asked = asked_[pair];
  ++asked.count;
  asked.last = when;
}

std::vector<ProbeAnswer> Probes::take_answers() {
  const std::lock_guard lock(mutex_);
  eventfd_t count = 0;
  ::eventfd_read(event_.get(), &count);
  return std::exchange(answers_, {});
}

std::vector<ProbesHeard> Probes::heard() {
  const std::lock_guard lock(mutex_);
  const ProbeTime oldest = std::chrono::steady_clock::now() - kForgotten;
  std::erase_if(asked_, [&](const auto& item) { return item.second.last < oldest; });
  std::vector<ProbesHeard> all;
  all.reserve(asked_.size());
  for (const auto& [pair, asked] : asked_) all.push_back({pair, asked.count, asked.last});
  return all;
}

policy::Result<std::unique_ptr<ProbeWire>> make_probe_wire(std::shared_ptr<Probes> probes,
                                                           Asks& asks,
                                                           const vswitch::BridgeOptions& bridge) {
  if (probes->answers_fd() < 0) return policy::errno_error("The answers to probes cannot be read");
  return std::make_unique<OvsProbeWire>(std::move(probes), asks, bridge);
}

}  // namespace homeport::overlay::ovs
