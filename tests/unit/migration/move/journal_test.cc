#include "migration/move/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace homeport::migration {
namespace {

namespace fs = std::filesystem;

class JournalTest : public testing::Test {
 protected:
  JournalTest() {
    std::string name = fs::temp_directory_path() / "homeport-journal-XXXXXX";
    directory_ = ::mkdtemp(name.data());
  }
  ~JournalTest() override { fs::remove_all(directory_); }

  static JournalEntry entry() {
    JournalEntry entry;
    entry.role = JournalEntry::Role::destination;
    entry.phase = JournalPhase::decided;
    entry.move_id = "6d2f";
    entry.application = "vm1";
    entry.peer = "hostA";
    entry.generation = 7;
    entry.ports = {{"vm1", 100, *policy::MacAddress::parse("02:00:00:00:00:01"), 1430, "hp1"}};
    return entry;
  }

  fs::path directory_;
};

TEST_F(JournalTest, IsReadBackByTheNextAgent) {
  ASSERT_TRUE(Journal::open(directory_ / "moves")->write(entry()));
  Journal::Contents contents = Journal::open(directory_ / "moves")->read();
  EXPECT_THAT(contents.entries, testing::ElementsAre(entry()));
  EXPECT_THAT(contents.unreadable, testing::IsEmpty());
}

TEST_F(JournalTest, NothingIsLeftOfAnEntryThatWasBeingWritten) {
  const fs::path draft = directory_ / "vm1.destination.json.new";
  ASSERT_TRUE(Journal::open(directory_)->write(entry()));
  std::ofstream(draft) << "{";
  Journal::Contents contents = Journal::open(directory_)->read();
  EXPECT_FALSE(fs::exists(draft));
  EXPECT_THAT(contents.entries, testing::ElementsAre(entry()));
  EXPECT_THAT(contents.unreadable, testing::IsEmpty());
}

TEST_F(JournalTest, KnowsWhatIsCarried) {
  JournalEntry ports = entry();
  ports.cargo = Cargo::ports;
  EXPECT_EQ(parse_journal_entry(to_journal_text(ports)).value(), ports);
  // An agent that knew of VMs alone wrote nothing of it.
  std::string old = to_journal_text(entry());
  const std::string cargo = "\"cargo\":\"vm\",";
  ASSERT_NE(old.find(cargo), std::string::npos) << old;
  old.erase(old.find(cargo), cargo.size());
  EXPECT_EQ(parse_journal_entry(old).value(), entry());
}

TEST_F(JournalTest, KeepsOneEntryPerApplicationAndRole) {
  Journal journal = *Journal::open(directory_);
  JournalEntry first = entry();
  first.phase = JournalPhase::under_way;
  JournalEntry source = entry();
  source.role = JournalEntry::Role::source;
  ASSERT_TRUE(journal.write(first));
  ASSERT_TRUE(journal.write(entry()));
  ASSERT_TRUE(journal.write(source));
  EXPECT_THAT(journal.read().entries, testing::UnorderedElementsAre(entry(), source));
  EXPECT_TRUE(journal.remove(source));
  EXPECT_TRUE(journal.remove(source));
  EXPECT_THAT(journal.read().entries, testing::ElementsAre(entry()));
}

TEST_F(JournalTest, SaysWhatItCannotUnderstand) {
  Journal journal = *Journal::open(directory_);
  std::ofstream(directory_ / "vm1.source.json") << "{\"role\": 3}";
  Journal::Contents contents = journal.read();
  EXPECT_THAT(contents.entries, testing::IsEmpty());
  ASSERT_EQ(contents.unreadable.size(), 1u);
  EXPECT_THAT(contents.unreadable[0].message, testing::HasSubstr("vm1.source.json"));
}

TEST_F(JournalTest, SaysWhatItCannotRead) {
  Journal journal = *Journal::open(directory_);
  fs::create_directory(directory_ / "vm1.source.json");
  Journal::Contents contents = journal.read();
  ASSERT_EQ(contents.unreadable.size(), 1u);
  EXPECT_THAT(contents.unreadable[0].message, testing::HasSubstr("Is a directory"));
}

TEST_F(JournalTest, RefusesAnEntryThatItDidNotWrite) {
  const std::string good = to_journal_text(entry());
  EXPECT_EQ(parse_journal_entry(good).value(), entry());
  const std::pair<std::string, std::string> changes[] = {{"\"destination\"", "\"bystander\""},
                                                         {"\"vm1\"", "\"../vm1\""},
                                                         {"\"vm1\"", "\"\""},
                                                         {"\"vm\"", "\"lorry\""},
                                                         {"7", "-7"}};
  for (const auto& [from, to] : changes) {
    std::string changed = good;
    changed.replace(changed.find(from), from.size(), to);
    auto parsed = parse_journal_entry(changed);
    ASSERT_FALSE(parsed) << changed;
    EXPECT_EQ(parsed.error().code, boost::system::errc::bad_message);
  }
}

TEST_F(JournalTest, SaysThatItCannotBeWritten) {
  Journal journal = *Journal::open(directory_ / "moves");
  fs::remove_all(directory_ / "moves");
  Result<void> written = journal.write(entry());
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, testing::HasSubstr("vm1.destination.json"));
}

}  // namespace
}  // namespace homeport::migration
