#include "agent/status/task_feed.h"

#include "tests/unit/agent/status/fixed_model.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <sstream>

namespace homeport::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

class Feed : public ::testing::Test {
 protected:
  void SetUp() override { model_.tasks.clear(); }

  TaskSnapshot& put(const std::string& id) {
    for (TaskSnapshot& task : model_.tasks) {
      if (task.id == id) return task;
    }
    model_.tasks.emplace_back().id = id;
    return model_.tasks.back();
  }

  void remove(const std::string& id) {
    std::erase_if(model_.tasks, [&](const TaskSnapshot& task) { return task.id == id; });
  }

  bool update() { return feed_.update(model_); }

  /// What comes next for the reader, an event a text such as "task a" or "reset".
  std::vector<std::string> read(std::size_t limit = kAll) {
    std::vector<std::string> events;
    std::istringstream lines(feed_.next(cursor_, limit));
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("id: ")) last_id_ = line.substr(4);
      if (line.starts_with("event: ")) events.push_back(line.substr(7));
      if (auto id = line.find("\"id\":\""); id != line.npos) {
        events.back() += " " + line.substr(id + 6, line.find('"', id + 6) - id - 6);
      }
    }
    return events;
  }

  StatusModel model_ = test::fixed_model();
  TaskFeed feed_;
  TaskFeed::Cursor cursor_;
  std::string last_id_;
};

TEST_F(Feed, BeginsWithAllThereIs) {
  put("a");
  put("b");
  EXPECT_TRUE(update());
  EXPECT_THAT(read(), ElementsAre("reset", "task a", "task b"));
  EXPECT_THAT(read(), IsEmpty());
}

TEST_F(Feed, BeginsWithAResetEvenIfThereIsNothing) {
  EXPECT_FALSE(update());
  EXPECT_THAT(read(), ElementsAre("reset"));
  EXPECT_THAT(read(), IsEmpty());
}

TEST_F(Feed, FollowsChangesAndOnlyThose) {
  put("a");
  put("b");
  update();
  read();
  EXPECT_FALSE(update()) << "nothing is new";
  put("a").bytes_sent = 5;
  put("c");
  EXPECT_TRUE(update());
  EXPECT_THAT(read(), ElementsAre("task a", "task c"));
  remove("b");
  EXPECT_TRUE(update());
  EXPECT_THAT(read(), ElementsAre("removed b"));
  put("b");
  update();
  EXPECT_THAT(read(), ElementsAre("task b"));
}

TEST_F(Feed, WritesTheTextOfServerSentEvents) {
  put("a").error = "two\nlines\r\n\nid: 7";
  update();
  EXPECT_EQ(feed_.next(cursor_, 1), "event: reset\ndata: {}\n\n");
  const std::string event = feed_.next(cursor_, 1);
  EXPECT_TRUE(event.starts_with("id: 1767225598250-1\nevent: task\ndata: {\"id\":\"a\",")) << event;
  EXPECT_THAT(event, HasSubstr(R"("error":"two\nlines\r\n\nid: 7")"));
  EXPECT_TRUE(event.ends_with("}\n\n"));
  EXPECT_EQ(std::count(event.begin(), event.end(), '\n'), 4);
}

TEST_F(Feed, OfASlowReaderIsOnlyTheLatest) {
  put("a");
  put("b");
  update();
  EXPECT_THAT(read(1), ElementsAre("reset"));
  EXPECT_THAT(read(1), ElementsAre("task a"));
  for (std::uint64_t i = 1; i <= 100; ++i) {
    put("b").bytes_sent = i;
    update();
  }
  const std::string text = feed_.next(cursor_, kAll);
  EXPECT_THAT(text, HasSubstr("\"bytes_sent\":100,"));
  EXPECT_EQ(text.find("event:"), text.rfind("event:"));
}

TEST_F(Feed, PiecesAreAsLongAsAllowed) {
  for (int i = 0; i < 10; ++i) put(fmt::format("{:02}", i));
  update();
  std::string all;
  std::size_t pieces = 0;
  for (auto piece = feed_.next(cursor_, 1'000); !piece.empty();
       piece = feed_.next(cursor_, 1'000)) {
    EXPECT_LE(piece.size(), 1'000u);
    all += piece;
    ++pieces;
  }
  EXPECT_GT(pieces, 2u);
  EXPECT_LT(pieces, 10u);
  TaskFeed::Cursor other;
  EXPECT_EQ(all, feed_.next(other, kAll));
}

TEST_F(Feed, AReaderThatComesBackGoesOn) {
  put("a");
  put("b");
  update();
  read();
  put("a").bytes_sent = 1;
  remove("b");
  update();
  cursor_ = feed_.resume(last_id_);
  EXPECT_THAT(read(), ElementsAre("task a", "removed b"));
  cursor_ = feed_.resume(last_id_);
  EXPECT_THAT(read(), IsEmpty());
}

TEST_F(Feed, AReaderThatComesBackAmidTheFirstGoesOn) {
  put("a");
  put("b");
  put("c");
  update();
  read(1);
  EXPECT_THAT(read(1), ElementsAre("task a"));
  remove("b");
  update();
  cursor_ = feed_.resume(last_id_);
  EXPECT_THAT(read(), ElementsAre("task c", "removed b"));
}

TEST_F(Feed, WhatWasGoneBeforeIsNotRemovedForANewReader) {
  put("a");
  put("b");
  update();
  remove("a");
  update();
  EXPECT_THAT(read(), ElementsAre("reset", "task b"));
}

TEST_F(Feed, BeginsAgainWhenTooManyRemovalsWereMissed) {
  for (std::size_t i = 0; i <= TaskFeed::kRemovalsKept; ++i) put(fmt::format("{}", i));
  put("stays");
  update();
  read();
  const auto behind = cursor_;
  const auto id_behind = last_id_;

  std::erase_if(model_.tasks, [](const TaskSnapshot& t) { return t.id != "stays" && t.id != "0"; });
  update();
  EXPECT_EQ(read().size(), TaskFeed::kRemovalsKept) << "as many as are kept";
  remove("0");
  update();
  cursor_ = behind;
  EXPECT_THAT(read(), ElementsAre("reset", "task stays"));
  EXPECT_THAT(read(), IsEmpty());
  cursor_ = feed_.resume(id_behind);
  EXPECT_THAT(read(), ElementsAre("reset", "task stays"));
}

TEST_F(Feed, BeginsAgainAfterAnIdThatIsNotItsOwn) {
  EXPECT_TRUE(feed_.resume("-0").fresh) << "before the first update";
  put("a");
  update();
  read();
  ASSERT_EQ(last_id_, "1767225598250-1");
  EXPECT_FALSE(feed_.resume(last_id_).fresh);
  for (const char* id :
       {"", "1", "-1", "1767225598250", "1767225598250-", "1767225598250-2", "1767225598251-1",
        "1767225598250--1", "1767225598250-1x", "1767225598250- 1", "1767225598250-+1",
        "1767225598250-99999999999999999999999", "\xff\xff"}) {
    EXPECT_TRUE(feed_.resume(id).fresh) << id;
  }
}

}  // namespace
}  // namespace homeport::agent
