// A file of the journal of moves.
#include "migration/move/journal.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport;
  using fuzz::require;
  auto entry = migration::parse_journal_entry(fuzz::as_text(data, size));
  if (!entry) {
    require(!entry.error().message.empty(), "an error is a sentence");
    return 0;
  }
  require(!entry->application.empty() && entry->application.find('/') == std::string::npos,
          "an entry's file is in its directory");
  auto again = migration::parse_journal_entry(migration::to_journal_text(*entry));
  require(again.has_value() && *again == *entry, "what is written again says the same");
  return 0;
}
