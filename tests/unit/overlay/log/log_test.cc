#include "overlay/log/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <boost/json/parse.hpp>

#include <sstream>
#include <thread>

namespace homeport::overlay::log {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::SizeIs;
using ::testing::StartsWith;

class LogTest : public ::testing::Test {
 protected:
  Settings settings() {
    Settings settings;
    settings.host = "hostA";
    settings.limit = {.burst = 3, .period = 10s};
    settings.sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(out_);
    settings.clock = [this] { return now_; };
    return settings;
  }

  static Line line(std::string text, About about = {}, std::uint32_t at = 1) {
    return {Level::warn, {"file.cc", at}, std::move(about), std::move(text)};
  }

  /// What has been written since it was last asked for.
  std::vector<std::string> written() {
    std::istringstream text(std::exchange(out_, std::ostringstream()).str());
    std::vector<std::string> lines;
    for (std::string each; std::getline(text, each);) lines.push_back(each);
    return lines;
  }

  std::ostringstream out_;
  Limiter::Time now_{};
};

TEST_F(LogTest, TextIsASentenceAndFields) {
  Log log(settings());
  log.write(line("it is so", {{"task", "7f3f"}, {"peer", "a \"b\"\\"}, {"none", ""}}));
  EXPECT_THAT(written(), ElementsAre(MatchesRegex(
                             "\\[2[-0-9]+ [0-9:.]+\\] \\[homeportd\\] \\[warning\\] it is "
                             "so task=7f3f peer=\"a .\"b.\".{2}\" none=\"\" host=hostA")));
}

TEST_F(LogTest, JsonIsOneObjectALine) {
  Settings json = settings();
  json.format = Format::json;
  Log log(json);
  log.write(line("say \"so\"\n", {{"task", "7f3f"}, {"application", "vm\t1"}}));
  log.write(line("and again"));
  const auto lines = written();
  ASSERT_THAT(lines, SizeIs(2));
  const auto object = boost::json::parse(lines[0]).as_object();
  EXPECT_EQ(object.at("message"), "say \"so\"?");
  EXPECT_EQ(object.at("level"), "warning");
  EXPECT_EQ(object.at("task"), "7f3f");
  EXPECT_EQ(object.at("application"), "vm?1");
  EXPECT_EQ(object.at("host"), "hostA");
  EXPECT_THAT(std::string(object.at("time").as_string()),
              MatchesRegex("2[0-9-]{9}T[0-9:]{8}\\.[0-9]{3}[+-][0-9:]{5}"));
}

TEST_F(LogTest, TheJournalIsToldPriorities) {
  Settings journal = settings();
  journal.for_journal = true;
  Log text(journal);
  text.write(line("so"));
  Line bad = line("bad");
  bad.level = Level::error;
  text.write(bad);
  EXPECT_THAT(written(), ElementsAre("<4>so host=hostA", "<3>bad host=hostA"));
  journal.format = Format::json;
  Log json(journal);
  json.write(line("so"));
  EXPECT_THAT(written(), ElementsAre(StartsWith("<4>{\"time\":")));
}

TEST_F(LogTest, ControlCharactersStayOut) {
  for (Format format : {Format::text, Format::json}) {
    Settings either = settings();
    either.format = format;
    Log log(either);
    log.write(line("a\033[2Jb\nc\xff", {{"peer", "x\r\n[fake] line\x9b"}}));
    const auto lines = written();
    ASSERT_THAT(lines, SizeIs(1));
    EXPECT_THAT(lines[0], HasSubstr("a?[2Jb?c?"));
    EXPECT_THAT(lines[0], HasSubstr("x??[fake] line?"));
  }
}

TEST_F(LogTest, LevelsBelowAreNotWritten) {
  Settings quiet = settings();
  quiet.level = Level::error;
  Log log(quiet);
  log.write(line("so"));
  EXPECT_THAT(written(), IsEmpty());
  EXPECT_EQ(log.totals().lines[static_cast<std::size_t>(Level::warn)], 0u);
}

TEST_F(LogTest, APlaceIsCutOffAndTheNumberTold) {
  Log log(settings());
  for (int i = 0; i < 100; ++i) log.write(line("again " + std::to_string(i), {{"peer", "hostB"}}));
  EXPECT_THAT(written(), SizeIs(3));
  EXPECT_EQ(log.totals().left_out, 97u);

  log.write(line("another place", {}, 2));
  EXPECT_THAT(written(), SizeIs(1));
  now_ += 10s;
  log.tell_left_out();
  EXPECT_THAT(written(),
              ElementsAre(HasSubstr("[warning] 97 lines were left out, of which the first: again 3 "
                                    "peer=hostB left_out=97 host=hostA")));
  log.tell_left_out();
  EXPECT_THAT(written(), IsEmpty());
  for (int i = 0; i < 100; ++i) log.write(line("again"));
  EXPECT_THAT(written(), SizeIs(3));
  now_ += 10s;
  log.write(line("a line tells it too", {}, 3));
  EXPECT_THAT(written(), ElementsAre(HasSubstr("97 lines"), HasSubstr("a line tells")));
  EXPECT_EQ(log.totals().lines[static_cast<std::size_t>(Level::warn)], 3u + 1 + 1 + 3 + 2);
}

TEST_F(LogTest, TasksDoNotStandInEachOthersWay) {
  Log log(settings());
  for (int i = 0; i < 5; ++i) log.write(line("one", {{"task", "1"}}));
  for (int i = 0; i < 5; ++i) log.write(line("two", {{"task", "2"}}));
  EXPECT_THAT(written(), SizeIs(6));
  now_ += 10s;
  log.tell_left_out();
  EXPECT_THAT(written(),
              ElementsAre(HasSubstr("task=1 left_out=2"), HasSubstr("task=2 left_out=2")));
}

TEST_F(LogTest, TasksWithoutNumberDoNotFillIt) {
  Limiter limiter({.burst = 3, .period = 10s});
  std::size_t written = 0;
  for (int i = 0; i < 10'000; ++i) {
    if (limiter.admit(line("so", {{"task", std::to_string(i)}}), now_)) ++written;
  }
  EXPECT_EQ(written, Limiter::kMostTasks + 3);
  // The next period begins anew.
  EXPECT_THAT(limiter.over(now_ + 10s), SizeIs(1));
  EXPECT_TRUE(limiter.admit(line("so", {{"task", "9999"}}), now_ + 10s));
}

TEST_F(LogTest, ThreadsWriteWholeLines) {
  Settings many = settings();
  many.limit.burst = 1000;
  Log log(many);
  auto write = [&] {
    for (int i = 0; i < 50; ++i) log.write(line("so"));
  };
  std::thread other(write);
  write();
  other.join();
  EXPECT_THAT(written(),
              ::testing::AllOf(SizeIs(100), ::testing::Each(HasSubstr("] so host=hostA"))));
}

TEST_F(LogTest, TheProgramsLogKnowsThePlaceOfEachCall) {
  set_up(settings());
  for (int i = 0; i < 9; ++i) {
    info("{} and {}", 1, "two");
    warn({{"application", "vm1"}, {"peer", "hostB"}}, "three {}", i);
  }
  debug("not at this level");
  EXPECT_THAT(written(), SizeIs(6));
  EXPECT_EQ(program_log().totals().left_out, 12u);
  set_up({});
}

TEST(LogLevels, HaveTheWordsOfTheConfiguration) {
  for (Level level : kLevels) EXPECT_EQ(level_from(to_string(level)), level);
}

}  // namespace
}  // namespace homeport::overlay::log
