// Packets cut into what fits the tunnel, byte by byte.
#include "overlay/datapath/ovs/fragment.h"

#include "tests/unit/overlay/datapath/frames.h"

#include <gtest/gtest.h>

namespace homeport::overlay::ovs {
namespace {

using boost::asio::ip::make_address;

constexpr policy::MacAddress kSender = {{2, 0, 0, 0, 0, 1}}, kOwner = {{2, 0, 0, 0, 0, 2}};
const auto kFrom = make_address("10.0.0.1"), kTo = make_address("10.0.0.2");
constexpr unsigned kDont = 0x4000, kMore = 0x2000;

std::string text(std::size_t length) {
  std::string result;
  for (std::size_t i = 0; i < length; ++i) result += static_cast<char>(i * 7 / 3);
  return result;
}

/// The frame of a datagram of that many bytes, the header's checksum right.
std::string frame(std::size_t payload, unsigned place = 0, const std::string& options = {}) {
  const std::size_t header = 20 + options.size();
  std::string ip = std::string(1, static_cast<char>(0x40 | header / 4)) + '\3' +
                   be16(static_cast<unsigned>(header + payload)) + "\x12\x34" + be16(place) +
                   std::string("\x3f\x11\0\0", 4) + bytes_of(kFrom) + bytes_of(kTo) + options;
  ip.replace(10, 2, be16(internet_checksum(ip)));
  return ethernet(kOwner, kSender, 0x0800, ip + text(payload));
}

unsigned place_of(const std::string& part) {
  return read16(part, 20);
}

TEST(Fragment, PartsFitAndAreTheWhole) {
  const std::string whole = frame(9000 - 20);
  const auto parts = cut(whole, 1430);
  ASSERT_TRUE(parts);
  ASSERT_EQ(parts->size(), 7u);
  std::string payload;
  for (const std::string& part : *parts) {
    EXPECT_LE(part.size(), 14u + 1430u);
    EXPECT_EQ(part.size(), 14 + read16(part, 16));
    EXPECT_EQ(part.substr(0, 16), whole.substr(0, 16));  // Addresses, version, class.
    EXPECT_EQ(part.substr(18, 2), whole.substr(18, 2));  // Identification.
    EXPECT_EQ(part.substr(22, 2), whole.substr(22, 2));  // Hops and protocol.
    EXPECT_EQ(part.substr(26, 8), whole.substr(26, 8));
    EXPECT_EQ(internet_checksum(part.substr(14, 20)), 0u);
    EXPECT_EQ((place_of(part) & 0x1fff) * 8, payload.size());
    EXPECT_EQ(place_of(part) & kMore, &part == &parts->back() ? 0u : kMore);
    payload += part.substr(34);
  }
  EXPECT_EQ(payload, whole.substr(34));
  EXPECT_EQ(parts->front().size(), 14u + 20u + 1408u);  // 1410 in eights.
}

TEST(Fragment, WhatFitsOrMustStayWholeIsNotCut) {
  EXPECT_FALSE(cut(frame(1410), 1430));
  EXPECT_EQ(cut(frame(1411), 1430)->size(), 2u);
  EXPECT_FALSE(cut(frame(1411, kDont), 1430));
  EXPECT_FALSE(cut(frame(1411, kDont | 8), 1430));
  // A small packet in a long frame.
  EXPECT_FALSE(cut(frame(1000) + text(1000), 1430));
  EXPECT_EQ(cut(frame(1411) + text(1000), 1430)->back().size(), 14u + 20u + 3u);
}

TEST(Fragment, PartsAreCutFurtherInTheirPlace) {
  const auto middle = cut(frame(1600, kMore | 100), 1020);
  ASSERT_TRUE(middle);
  ASSERT_EQ(middle->size(), 2u);
  EXPECT_EQ(place_of(middle->at(0)), kMore | 100u);
  EXPECT_EQ(place_of(middle->at(1)), kMore | 225u);
  EXPECT_EQ(place_of(cut(frame(1600, 100), 1020)->at(1)), 225u);
  // No part but the last has a length that is not of eights, and none is behind the end.
  EXPECT_FALSE(cut(frame(1601, kMore | 100), 1020));
  EXPECT_FALSE(cut(frame(1600, 0x1fff), 1020));
}

TEST(Fragment, OptionsGoWithTheFirstOrWithAll) {
  // A loose source route is copied (RFC 791), a recorded one is not; no operation, end of the list.
  const std::string route("\x83\x07\x04\x0a\0\0\3", 7), recorded("\x07\x07\x04\0\0\0\0", 7);
  const std::string options = recorded + "\1" + route + std::string(1, '\0');
  const auto parts = cut(frame(1000, 0, options), 576);
  ASSERT_TRUE(parts);
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ(parts->at(0)[14], '\x49');
  EXPECT_EQ(parts->at(0).substr(34, 16), options);
  EXPECT_EQ(parts->at(1)[14], '\x47');
  EXPECT_EQ(parts->at(1).substr(34, 8), route + std::string(1, '\0'));
  EXPECT_EQ(internet_checksum(parts->at(1).substr(14, 28)), 0u);
  EXPECT_EQ(parts->at(0).substr(50) + parts->at(1).substr(42), text(1000));
  for (const std::string& bad : {std::string("\x83\x28\0\0", 4), std::string("\x83\0\0\0", 4),
                                 std::string("\x83\1\0\0", 4), std::string("\1\1\1\x83", 4)}) {
    EXPECT_FALSE(cut(frame(1000, 0, bad), 576));
  }
}

TEST(Fragment, WhatIsNoWholePacketIsNotCut) {
  const std::string whole = frame(2000);
  for (std::size_t length = 0; length < whole.size(); length += length < 40 ? 1 : 97) {
    EXPECT_FALSE(cut(whole.substr(0, length), 1430)) << length;
  }
  std::string other = whole;
  other[12] = static_cast<char>(0x86);
  EXPECT_FALSE(cut(other, 1430));
  for (const char version : {'\x65', '\x44', '\x4f'}) {
    other = whole;
    other[14] = version;
    EXPECT_FALSE(cut(other, 1430));
  }
  // Its header is damaged, which right checksums of the parts would hide.
  other = whole;
  other[24] = static_cast<char>(other[24] ^ 1);
  EXPECT_FALSE(cut(other, 1430));
}

TEST(Fragment, NothingIsCutIntoDust) {
  EXPECT_FALSE(cut(frame(60000), 68));
  EXPECT_FALSE(cut(frame(2000), 27));
  EXPECT_FALSE(cut(frame(2000), 0));
  EXPECT_TRUE(cut(frame(65515), 576));
}

}  // namespace
}  // namespace homeport::overlay::ovs
