#include "overlay/channel/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace homeport::overlay {
namespace {

namespace errc = boost::system::errc;

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> result;
  for (int value : values) result.push_back(static_cast<std::byte>(value));
  return result;
}

TEST(FramePrefix, IsTwoBigEndianLengths) {
  auto encoded = encode_frame_prefix({0x00010203, 0x00040506});
  EXPECT_TRUE(std::ranges::equal(encoded, bytes({0, 1, 2, 3, 0, 4, 5, 6})));
  FrameLimits wide{.header = 0xffffffff, .payload = 0xffffffff};
  EXPECT_EQ(parse_frame_prefix(encoded, wide).value(), (FramePrefix{0x00010203, 0x00040506}));
}

TEST(FramePrefix, AcceptsExactlyTheLimits) {
  FramePrefix most{kMaxFrameHeader, kMaxFramePayload};
  EXPECT_EQ(parse_frame_prefix(encode_frame_prefix(most), {}).value(), most);
  EXPECT_EQ(parse_frame_prefix(encode_frame_prefix({0, 0}), {}).value(), FramePrefix{});
}

struct Hostile {
  std::vector<std::byte> input;
  FrameLimits limits;
  errc::errc_t expected;
};

TEST(FramePrefix, RefusesHostileInput) {
  const Hostile cases[] = {
      {{}, {}, errc::bad_message},
      {bytes({0, 0, 0, 1, 0, 0, 0}), {}, errc::bad_message},
      {bytes({0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), {}, errc::message_size},
      {bytes({0x80, 0, 0, 0, 0, 0, 0, 0}), {}, errc::message_size},
      {bytes({0, 0x10, 0, 1, 0, 0, 0, 0}), {}, errc::message_size},
      {bytes({0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}), {}, errc::message_size},
      {bytes({0, 0, 0, 0, 0, 0x40, 0, 1}), {}, errc::message_size},
      {bytes({0, 0, 0, 0, 0, 0, 0, 1}), {.payload = 0}, errc::bad_message},
      {bytes({'G', 'E', 'T', ' ', '/', ' ', 'H', 'T'}), {}, errc::message_size},
      {bytes({0, 0, 0, 5, 0, 0, 0, 0}), {.header = 4}, errc::message_size},
  };
  for (const Hostile& hostile : cases) {
    auto parsed = parse_frame_prefix(hostile.input, hostile.limits);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().code, hostile.expected) << parsed.error().message;
    EXPECT_FALSE(parsed.error().message.empty());
  }
}

TEST(FramePrefix, NeverPassesMoreThanTheLimits) {
  std::mt19937 random(20261122);
  for (int round = 0; round < 100000; ++round) {
    std::vector<std::byte> input(random() % 12);
    for (std::byte& byte : input) {
      byte = static_cast<std::byte>(random() % 3 == 0 ? random() : random() % 4);
    }
    auto limit = [&] { return static_cast<std::uint32_t>(random() >> (random() % 32)); };
    FrameLimits limits{.header = limit(), .payload = limit()};
    auto parsed = parse_frame_prefix(input, limits);
    if (!parsed) continue;
    EXPECT_LE(parsed->header_size, limits.header);
    EXPECT_LE(parsed->payload_size, limits.payload);
    EXPECT_TRUE(std::ranges::equal(encode_frame_prefix(*parsed), std::span(input).first(8)));
  }
}

}  // namespace
}  // namespace homeport::overlay
