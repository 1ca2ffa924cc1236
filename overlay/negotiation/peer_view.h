// What the other host has said last.
#pragma once

#include "overlay/negotiation/statement.h"
#include "policy/path/path.h"

#include <vector>

namespace homeport::overlay {

class PeerView {
 public:
  enum class Taken {
    news,        ///< it says something that was not known
    repeated,    ///< that was known
    late,        ///< it has said something else since
    incomplete,  ///< what it leaves out is not known here: it was said to an earlier run of this
                 ///< agent
  };

  /// Takes a statement in. `own_epoch`: this host's.
  Taken take(PathStatement statement, std::uint64_t own_epoch, policy::Time now);

  /// It cannot say any more what has changed. That a path did not carry is not believed any longer,
  /// which would keep this host from the only one that is left; that one does carries its age.
  void disconnected();

  StatementId last() const { return last_; }
  /// kMostEnds at most.
  const std::vector<policy::PathEnd>& ends() const { return ends_; }
  const policy::PerClass<PathChoice>& choices() const { return choices_; }
  /// What it has measured, and nothing of what is older than `limit`.
  std::vector<policy::PathReport> reports(policy::Time now, policy::Micros limit) const;
  /// When the first report that is known `now` gets older than that; Time::max(): there is none.
  policy::Time next_forgotten(policy::Time now, policy::Micros limit) const;

 private:
  StatementId last_;
  std::vector<policy::PathEnd> ends_;
  std::vector<policy::PathReport> reports_;
  policy::Time reported_{};
  policy::PerClass<PathChoice> choices_;
};

}  // namespace homeport::overlay
