// What an agent must remember of a move if it is killed in the middle of one: a small JSON file per
// move and role in the state directory, written before the step it speaks of.
//
// The files are replaced by rename and not synced to disk: they need to survive the agent, not the
// host. A host that goes down takes its guests with it, and then the control database's word is all
// that counts.
#pragma once

#include "migration/move/cargo.h"
#include "migration/move/edges.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::migration {

enum class JournalPhase {
  under_way,  ///< source: the commit was not sent; destination: Ready was not said
  decided,    ///< source: the commit was sent; destination: Ready was said
  running,    ///< destination: the guest was told to go on
};

struct JournalEntry {
  enum class Role { source, destination };

  Role role = Role::source;
  JournalPhase phase = JournalPhase::under_way;
  Cargo cargo = Cargo::vm;
  std::string move_id;
  std::string application;
  std::string peer;  ///< the other host
  Generation generation = 0;
  std::vector<PortSpec> ports;

  bool operator==(const JournalEntry&) const = default;
};

/// One entry as the text of its file, and back; errc::bad_message for anything that was not written
/// so.
std::string to_journal_text(const JournalEntry& entry);
Result<JournalEntry> parse_journal_entry(std::string_view text);

class Journal {
 public:
  /// Creates the directory (mode 0700) if it is missing, and removes what is there of an entry that
  /// an agent was writing when it was killed.
  static Result<Journal> open(std::filesystem::path directory);

  Result<void> write(const JournalEntry& entry) const;
  /// Removing an entry that is not there is not an error.
  Result<void> remove(const JournalEntry& entry) const;

  struct Contents {
    std::vector<JournalEntry> entries;
    std::vector<policy::Error> unreadable;  ///< one per file that could not be understood
  };
  Contents read() const;

 private:
  explicit Journal(std::filesystem::path directory) : directory_(std::move(directory)) {}
  std::filesystem::path path_of(const JournalEntry& entry) const;

  std::filesystem::path directory_;
};

}  // namespace homeport::migration
