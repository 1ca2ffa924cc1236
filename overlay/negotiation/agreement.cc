#include "overlay/negotiation/agreement.h"

namespace homeport::overlay {

using policy::ChoiceCause;
using policy::RankedPath;
using policy::Time;

void Agreement::adopt(Time now, const std::optional<policy::PathId>& path) {
  chooser_.use(now, path, ChoiceCause::agreement);
  choice_ = {0, path};
}

ChoiceCause Agreement::review(Time now, std::span<const RankedPath> ranked,
                              const PathChoice& theirs, std::uint64_t next_nomination) {
  const bool controls = role_ == AgreementRole::controlling;
  const ChoiceCause cause =
      controls ? nominate(now, ranked, theirs, next_nomination) : follow(now, ranked, theirs);
  if (!choice_.path) {
    state_ = AgreementState::idle;
  } else if (choice_.nomination != 0 && choice_ == theirs) {
    state_ = AgreementState::agreed;
  } else {
    state_ = controls ? AgreementState::nominated : AgreementState::apart;
  }
  return cause;
}

ChoiceCause Agreement::nominate(Time now, std::span<const RankedPath> ranked,
                                const PathChoice& theirs, std::uint64_t next_nomination) {
  // One thing at a time: a host that does not answer is not asked to follow to ever other paths.
  const bool agreed = choice_ == theirs;
  const ChoiceCause cause = chooser_.choose(now, ranked, theirs.path, agreed);
  const bool adopted = choice_.path && choice_.nomination == 0;
  if (cause != ChoiceCause::unchanged || adopted) choice_ = {next_nomination, chooser_.current()};
  return cause;
}

ChoiceCause Agreement::follow(Time now, std::span<const RankedPath> ranked,
                              const PathChoice& nominated) {
  const RankedPath* path = find(ranked, nominated.path);
  // "None" is followed, too. What the policy says here is not asked: there is one policy, which the
  // controlling host goes by, and which two hosts may have read at different times.
  const bool can_follow = nominated.path ? path && !path->broken : nominated.nomination != 0;
  const ChoiceCause cause = can_follow ? chooser_.use(now, nominated.path, ChoiceCause::agreement)
                                       : chooser_.choose(now, ranked, std::nullopt, true);
  choice_ = {nominated.nomination, chooser_.current()};
  return cause;
}

Time Agreement::next_look() const {
  const bool may_improve = role_ == AgreementRole::controlling ? state_ == AgreementState::agreed
                                                               : state_ == AgreementState::apart;
  return may_improve ? chooser_.next_look() : Time::max();
}

std::string_view to_string(AgreementRole role) {
  return role == AgreementRole::controlling ? "controlling" : "following";
}

std::string_view to_string(AgreementState state) {
  switch (state) {
    case AgreementState::idle:
      return "idle";
    case AgreementState::nominated:
      return "nominated";
    case AgreementState::apart:
      return "apart";
    case AgreementState::agreed:
      return "agreed";
  }
  return "unknown";
}

}  // namespace homeport::overlay
