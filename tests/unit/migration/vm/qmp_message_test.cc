#include "migration/vm/qmp_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::migration {
namespace {

using testing::HasSubstr;

TEST(QmpMessage, GreetingIsKnown) {
  auto message = parse_qmp_message(
      R"({"QMP": {"version": {"qemu": {"micro": 19, "minor": 2, "major": 7}, "package": "Debian"},)"
      R"( "capabilities": ["oob"]}})");
  ASSERT_TRUE(message) << message.error().message;
  EXPECT_TRUE(std::holds_alternative<QmpGreeting>(*message));
}

TEST(QmpMessage, EventHasNameAndData) {
  auto message =
      parse_qmp_message(R"({"timestamp": {"seconds": 2, "microseconds": 5}, "event": "MIGRATION",)"
                        R"( "data": {"status": "completed"}})");
  ASSERT_TRUE(message);
  auto event = std::get<QmpEvent>(*message);
  EXPECT_EQ(event.name, "MIGRATION");
  EXPECT_EQ(event.data.at("status"), "completed");
}

TEST(QmpMessage, ReturnAndErrorCarryTheirId) {
  auto returned = parse_qmp_message(R"({"return": [1], "id": 3})");
  ASSERT_TRUE(returned);
  EXPECT_EQ(std::get<QmpReturn>(*returned).id, 3u);
  auto failure =
      parse_qmp_message(R"({"id": 4, "error": {"class": "GenericError", "desc": "No"}})");
  ASSERT_TRUE(failure);
  EXPECT_EQ(std::get<QmpFailure>(*failure).id, 4u);
  EXPECT_EQ(std::get<QmpFailure>(*failure).description, "No");
}

TEST(QmpMessage, WhatIsNotQmpIsRefused) {
  std::string deep(1'000, '[');
  for (std::string line : {std::string("{"), std::string("[]"), std::string("7"), std::string("{}"),
                           std::string(""), std::string(R"({"event": 7})"),
                           std::string(R"({"error": {}})"), std::string(R"({"return": {}} x)"),
                           std::string("\0\xff\xfe", 3), R"({"return": )" + deep}) {
    auto message = parse_qmp_message(line);
    ASSERT_FALSE(message) << line;
    EXPECT_EQ(message.error().code, boost::system::errc::bad_message);
    EXPECT_LT(message.error().message.size(), 400u);
  }
}

TEST(QmpMessage, EveryPrefixAndFlippedByteIsRefusedOrParsed) {
  std::string line = R"({"event": "E", "data": {"a": [1, "\u00e9", null]}, "timestamp": {}})";
  for (std::size_t size = 0; size < line.size(); ++size) {
    EXPECT_FALSE(parse_qmp_message(line.substr(0, size)));
  }
  for (std::size_t i = 0; i < line.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = line;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      parse_qmp_message(changed);
    }
  }
}

TEST(QmpMessage, CommandIsOneLine) {
  boost::json::object arguments;
  arguments["text"] = "a\nb";
  EXPECT_EQ(format_qmp_command("do", arguments, 5),
            "{\"execute\":\"do\",\"arguments\":{\"text\":\"a\\nb\"},\"id\":5}\n");
  EXPECT_EQ(format_qmp_command("stop", {}, 6), "{\"execute\":\"stop\",\"id\":6}\n");
}

TEST(QmpLines, JoinsWhatArrivesInPieces) {
  QmpLines lines;
  lines.add("ab");
  EXPECT_EQ(*lines.next(), std::nullopt);
  lines.add("c\r\n\r\n\nde\nf");
  EXPECT_EQ(*lines.next(), "abc");
  EXPECT_EQ(*lines.next(), "de");
  EXPECT_EQ(*lines.next(), std::nullopt);
  lines.add("\n");
  EXPECT_EQ(*lines.next(), "f");
}

TEST(QmpLines, LineOverTheLimitIsRefused) {
  QmpLines unfinished;
  unfinished.add(std::string(kQmpMaxLine, 'x'));
  EXPECT_TRUE(unfinished.next());
  unfinished.add("x");
  auto refused = unfinished.next();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, boost::system::errc::message_size);

  QmpLines finished;
  finished.add(std::string(kQmpMaxLine + 1, 'x') + "\n");
  EXPECT_FALSE(finished.next());
}

}  // namespace
}  // namespace homeport::migration
