#include "policy/path/end_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(EndText, IsWhatItIsParsedFrom) {
  const std::pair<const char*, EndMatch> ends[] = {
      {"host1/eth2", {.host = "host1", .interface = "eth2"}},
      {"host1.example/eth0.100", {.host = "host1.example", .interface = "eth0.100"}},
      {"host1/*", {.host = "host1"}},
      {"*/eth2", {.interface = "eth2"}},
      {"*/*", {}},
      {"host1/label:wan", {.host = "host1", .label = "wan"}},
      {"*/label:isp:a/b", {.label = "isp:a/b"}},
      {"*/label:*", {.label = "*"}},
      {"*/label:Straße", {.label = "Straße"}},
  };
  for (const auto& [text, end] : ends) {
    auto parsed = parse_end(text);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(*parsed, end) << text;
    EXPECT_EQ(to_string(end), text);
  }
}

TEST(EndText, SaysWhatToWriteInstead) {
  const std::pair<std::string, const char*> texts[] = {
      {"", "write HOST/INTERFACE or HOST/label:NAME"},
      {"eth0", "write HOST/INTERFACE or HOST/label:NAME"},
      {"/eth0", "before the slash stands a host's name"},
      {"ho st/eth0", "before the slash stands a host's name"},
      {std::string(64, 'h') + "/eth0", "before the slash stands a host's name"},
      {"host*/eth0", "before the slash stands a host's name"},
      {"host1/", "after the slash stands an interface's name"},
      {"host1/eth0/1", "after the slash stands an interface's name"},
      {"host1/lable:wan", "after the slash stands an interface's name"},
      {"host1/an interface", "after the slash stands an interface's name"},
      {"host1/eth0\n", "after the slash stands an interface's name"},
      {"host1/sixteen-bytes-xy", "after the slash stands an interface's name"},
      {"host1/label:", "stands a label"},
      {"host1/label:w an", "stands a label"},
      {"host1/label:\xff", "stands a label"},
      {"host1/label:" + std::string(64, 'l'), "stands a label"},
  };
  for (const auto& [text, sentence] : texts) {
    auto parsed = parse_end(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().message, AllOf(HasSubstr("\" is no end of a path: "),
                                              HasSubstr(sentence), testing::Not(HasSubstr("\n"))));
  }
  EXPECT_LT(parse_end(std::string(100'000, 'x')).error().message.size(), 400u);
}

TEST(EndText, OfAPairHasOneSpace) {
  auto pair = parse_pair("host2/eth3 host1/label:wan");
  ASSERT_TRUE(pair) << pair.error().message;
  EXPECT_EQ(pair->one, (EndMatch{.host = "host2", .interface = "eth3"}));
  EXPECT_EQ(pair->other, (EndMatch{.host = "host1", .label = "wan"}));
  EXPECT_EQ(to_string(*pair), "host2/eth3 host1/label:wan");
  EXPECT_THAT(parse_pair("host1/eth0").error().message, HasSubstr("is no pair of ends"));
  EXPECT_THAT(parse_pair("eth0 host2/eth0").error().message, HasSubstr("\"eth0\" is no end"));
  EXPECT_THAT(parse_pair("host1/eth0  host2/eth0").error().message,
              HasSubstr("\" host2/eth0\" is no end"));
  EXPECT_THAT(parse_pair("host1/eth0 host2/eth0 host3/eth0").error().message,
              HasSubstr("is no end of a path"));
}

TEST(EndText, MeansAHostOrAny) {
  EXPECT_TRUE(may_be_at(*parse_end("host1/eth0"), "host1"));
  EXPECT_FALSE(may_be_at(*parse_end("host1/eth0"), "host2"));
  EXPECT_TRUE(may_be_at(*parse_end("*/eth0"), "host2"));
}

TEST(EndText, OfAPairMeansTwoHosts) {
  auto between = [](const char* pair) { return may_be_between(*parse_pair(pair), "a", "b"); };
  EXPECT_TRUE(between("a/eth0 b/eth0"));
  EXPECT_TRUE(between("b/eth0 a/eth0"));
  EXPECT_TRUE(between("*/eth0 b/eth0"));
  EXPECT_TRUE(between("a/eth0 */eth0"));
  EXPECT_TRUE(between("*/eth0 */eth0"));
  EXPECT_FALSE(between("a/eth0 a/eth1")) << "both ends at one host";
  EXPECT_FALSE(between("a/eth0 c/eth0"));
  EXPECT_FALSE(between("c/eth0 */eth0"));
  EXPECT_FALSE(between("c/eth0 d/eth0"));
}

}  // namespace
}  // namespace homeport::policy
