#include "agent/cli/event_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace homeport::agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

/// Each as "NAME: DATA".
std::vector<std::string> take(EventText& text, std::string_view piece) {
  std::vector<std::string> events;
  for (const ServerEvent& event : text.take(piece).value()) {
    events.push_back(event.name + ": " + event.data);
  }
  return events;
}

TEST(EventTextOf, IsEventsWhateverThePiecesAre) {
  const std::string all =
      "event: reset\ndata: {}\n\n: nothing new\n\nid: 1-7\r\nevent: path\r\ndata: {1}\r\n\r\n"
      "event: odd\ndata:one\ndata\ndata:  three\nretry: 5\n\ndata: unnamed\n\n";
  EventText whole;
  const std::vector<std::string> events = take(whole, all);
  EXPECT_THAT(events,
              ElementsAre("reset: {}", "path: {1}", "odd: one\n\n three", "message: unnamed"));
  for (const std::size_t size : {1, 2, 3, 7}) {
    EventText text;
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < all.size(); at += size) {
      for (std::string& event : take(text, all.substr(at, size))) {
        pieces.push_back(std::move(event));
      }
    }
    EXPECT_EQ(pieces, events) << size;
  }
}

TEST(EventTextOf, HasNoEventThatDoesNotEndOrSaysNothing) {
  EventText text;
  EXPECT_THAT(take(text, "event: reset\n\ndata: {}\n"), IsEmpty());
  EXPECT_THAT(take(text, "\n"), ElementsAre("message: {}"));
}

TEST(EventTextOf, EndsWithAnEventThatIsTooLong) {
  EventText line;
  EXPECT_FALSE(line.take(std::string(EventText::kLongest + 1, 'x')));
  EventText lines;
  const std::string half = "data: " + std::string(EventText::kLongest / 2, 'x') + "\n";
  EXPECT_TRUE(lines.take(half));
  EXPECT_FALSE(lines.take(half));
  EventText many;
  for (int i = 0; i < 4; ++i) EXPECT_THAT(take(many, half + "\n"), SizeIs(1));
}

}  // namespace
}  // namespace homeport::agent
