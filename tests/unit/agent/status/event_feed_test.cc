#include "agent/status/event_feed.h"

#include "tests/unit/agent/status/fixed_model.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <sstream>

namespace homeport::agent {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

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
      for (const std::string member : {"\"id\":\"", "\"peer\":\"", "\"class\":\""}) {
        const auto at = line.find(member);
        if (at == line.npos) continue;
        const auto value = at + member.size();
        events.back() += " " + line.substr(value, line.find('"', value) - value);
      }
    }
    return events;
  }

  StatusModel model_ = test::fixed_model();
  EventFeed feed_;
  EventFeed::Cursor cursor_;
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
  EventFeed::Cursor other;
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
  for (std::size_t i = 0; i <= EventFeed::kRemovalsKept; ++i) put(fmt::format("{}", i));
  put("stays");
  update();
  read();
  const auto behind = cursor_;
  const auto id_behind = last_id_;

  std::erase_if(model_.tasks, [](const TaskSnapshot& t) { return t.id != "stays" && t.id != "0"; });
  update();
  EXPECT_EQ(read().size(), EventFeed::kRemovalsKept) << "as many as are kept";
  remove("0");
  update();
  cursor_ = behind;
  EXPECT_THAT(read(), ElementsAre("reset", "task stays"));
  EXPECT_THAT(read(), IsEmpty());
  cursor_ = feed_.resume(id_behind);
  EXPECT_THAT(read(), ElementsAre("reset", "task stays"));
}

TEST_F(Feed, HasPathsBesideTasks) {
  put("a");
  model_.path_events = test::fixed_path_events(model_.now);
  EXPECT_TRUE(update());
  EXPECT_THAT(read(), ElementsAre("reset", "task a", "path hostB interactive", "path hostB default",
                                  "path hostB bulk"));
  EXPECT_FALSE(update()) << "nothing is new";
  model_.path_events.front().state = "apart";
  EXPECT_TRUE(update());
  EXPECT_THAT(read(), ElementsAre("path hostB interactive"));
  model_.path_events.erase(model_.path_events.begin());
  put("hostB");  // a task with the name of a host
  EXPECT_TRUE(update());
  EXPECT_THAT(read(), ElementsAre("task hostB", "path-removed hostB interactive"));
  cursor_ = feed_.resume("1767225598250-5");
  EXPECT_THAT(read(), ElementsAre("task hostB", "path-removed hostB interactive"));
}

TEST_F(Feed, OfAPathIsTheLastChangeOfItsClass) {
  model_.tasks.clear();
  model_.path_events = test::fixed_path_events(model_.now);
  update();
  read(1);
  for (const char* state : {"idle", "nominated", "apart"}) {
    model_.path_events.back().state = state;
    update();
  }
  EXPECT_THAT(feed_.next(cursor_, kAll),
              AllOf(HasSubstr(R"({"peer":"hostB","class":"interactive","state":"agreed",)"
                              R"("time":"2026-01-01T00:01:26.250Z","from":{"local":{"interface":)"
                              R"("eth0","address":"192.0.2.1"},)"),
                    HasSubstr(R"("relay":"hostC"},"cause":"lost","text":"interactive goes eth1 )"),
                    HasSubstr(R"("class":"bulk","state":"apart","time":null,"from":null,)"),
                    HasSubstr(R"("cause":"unchanged","text":null})"), HasSubstr("\"to\":null,"),
                    Not(HasSubstr("\"nominated\""))));
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
