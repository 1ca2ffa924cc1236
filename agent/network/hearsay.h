// What other hosts tell about who has moved, ahead of the control database. Pure.
//
// The rule is that of MAC mobility (RFC 7432, section 7.7): the higher generation wins. One more
// thing is asked here: that the news comes from the host that has had the application, because
// only the owner can give it away, and no host may take what is another's.
#pragma once

#include "agent/control/database.h"

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace homeport::agent {

/// A binding is at another host now.
struct Moved {
  std::string binding;
  std::string host;
  policy::Generation generation = 0;
  bool operator==(const Moved&) const = default;
};

class Hearsay {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// News that the database in sync does not come to confirm within this time is dropped: it is
  /// another database by then, restored from a copy for example.
  static constexpr std::chrono::seconds kUnconfirmed{60};

  struct Told {
    std::string host;
    policy::Generation generation = 0;
    Time since{};
    bool operator==(const Told&) const = default;
  };

  enum class Verdict {
    known,    ///< or of no concern here: whoever told may count on it
    news,     ///< told() has it now
    refused,  ///< and why says `why`
  };
  struct Judgement {
    Verdict verdict = Verdict::known;
    std::string why;
  };

  /// `from` is the host that tells, as its certificate says. `reading`: rows that concern this host
  /// are on their way. A binding that is not known then may come in a moment, and come from a
  /// server of the cluster that has not heard of the move itself.
  Judgement hear(const Contents& contents, bool reading, const std::string& from,
                 const Moved& moved, Time now);
  /// The database may have caught up, or say otherwise. `synced`: it is what the server has.
  void follow(const Contents& contents, bool synced, Time now);

  /// By binding, what is newer than the database.
  const std::map<std::string, Told>& told() const { return told_; }
  /// Two hosts were said to have the same application by the same generation: one sentence each,
  /// until a newer generation settles it. The database's word is kept.
  std::vector<std::string> alarms() const;

 private:
  void alarm(const Binding& binding, const std::string& host);

  struct Alarm {
    policy::Generation generation = 0;
    std::string sentence;
  };
  std::map<std::string, Told> told_;
  std::map<std::string, Alarm> alarms_;
};

}  // namespace homeport::agent
