// Answers to packets that do not fit the tunnel, byte by byte.
#include "overlay/datapath/ovs/too_big.h"

#include "overlay/datapath/datapath.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <gtest/gtest.h>

namespace homeport::overlay::ovs {
namespace {

using boost::asio::ip::make_address;

constexpr policy::MacAddress kSender = {{2, 0, 0, 0, 0, 1}}, kOwner = {{2, 0, 0, 0, 0, 2}};
const auto kFrom4 = make_address("10.0.0.1"), kTo4 = make_address("10.0.0.2");
const auto kFrom6 = make_address("fd00::1"), kTo6 = make_address("fd00::2");
constexpr TooBigTag kTag{kSender, 1430, 226};
constexpr std::size_t kEnough = 1280;
constexpr std::size_t kWhole = 1514;

std::string frame4(bool dont_fragment = true) {
  return with_header_checksum(
      transport_frame(kOwner, kSender, kFrom4, kTo4, 6, kWhole, dont_fragment));
}
std::string frame6(unsigned char protocol = 6) {
  return transport_frame(kOwner, kSender, kFrom6, kTo6, protocol, kWhole);
}
/// Of its beginning.
std::optional<std::string> answer(const std::string& frame, const TooBigTag& tag = kTag) {
  return answer_too_big(frame.substr(0, kEnough), frame.size(), tag);
}

TEST(TooBig, Ipv4IsToldInTheNameOfTheDestination) {
  const std::string frame = frame4();
  const auto told = answer(frame);
  ASSERT_TRUE(told);
  // 576 bytes of IP packet, as every path carries, and 548 of them a quote.
  EXPECT_EQ(told->substr(0, 24),
            ethernet(kSender, kOwner, 0x0800,
                     std::string("\x45\0", 2) + be16(576) + std::string("\0\0\0\0\x40\1", 6)));
  EXPECT_EQ(internet_checksum(told->substr(14, 20)), 0u);
  EXPECT_EQ(told->substr(26, 8), bytes_of(kTo4) + bytes_of(kFrom4));
  EXPECT_EQ(told->substr(34, 2), std::string("\3\4"));
  EXPECT_EQ(told->substr(38, 4), be16(0) + be16(1430));
  EXPECT_EQ(told->substr(42), frame.substr(14, 548));
  EXPECT_EQ(internet_checksum(told->substr(34)), 0u);
}

TEST(TooBig, Ipv6IsToldInTheNameOfTheDestination) {
  const std::string frame = frame6();
  const auto told = answer(frame);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->substr(0, 22), ethernet(kSender, kOwner, 0x86dd,
                                          std::string("\x60\0\0\0", 4) + be16(1240) + "\x3a\x40"));
  EXPECT_EQ(told->substr(22, 32), bytes_of(kTo6) + bytes_of(kFrom6));
  EXPECT_EQ(told->substr(54, 2), std::string("\2\0", 2));
  EXPECT_EQ(told->substr(58, 4), be16(0) + be16(1430));
  EXPECT_EQ(told->substr(62), frame.substr(14, 1232));
  EXPECT_EQ(icmp6_checksum(*told), 0u);
}

TEST(TooBig, ThatWasRoutedIsToldByTheRouter) {
  std::string frame = frame4();
  frame.replace(6, 6, bytes_of(kRouterMac));
  EXPECT_EQ(answer(frame)->substr(0, 12), bytes_of(kSender) + bytes_of(kRouterMac));
}

TEST(TooBig, OneThatMayBeFragmentedIsNotTold) {
  EXPECT_FALSE(answer(frame4(false)));
}

TEST(TooBig, Ipv6ToAGroupIsToldByTheRouter) {
  std::string frame = frame6();
  frame.replace(0, 6, std::string("\x33\x33\0\0\0\x77", 6));
  EXPECT_FALSE(answer(frame));  // For one, and sent to all.
  frame.replace(38, 16, bytes_of(make_address("ff05::77")));
  const auto told = answer(frame);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->substr(0, 12), bytes_of(kSender) + bytes_of(kRouterMac));
  EXPECT_EQ(told->substr(22, 32),
            bytes_of(make_address("fe80::48:50ff:fe00:1")) + bytes_of(kFrom6));
  EXPECT_EQ(told->substr(54, 2), std::string("\2\0", 2));
  EXPECT_EQ(told->substr(62), frame.substr(14, 1232));
  EXPECT_EQ(icmp6_checksum(*told), 0u);
}

TEST(TooBig, WhatFitsIsNotAnswered) {
  EXPECT_TRUE(answer(frame4(), {kSender, 1499, 226}));
  EXPECT_FALSE(answer(frame4(), {kSender, 1500, 226}));
  EXPECT_FALSE(answer(frame6(), {kSender, 1500, 226}));
  // A small packet in a long frame.
  std::string frame = frame4();
  frame.replace(16, 2, be16(1430));
  EXPECT_FALSE(answer(frame));
  frame = frame6();
  frame.replace(18, 2, be16(1390));
  EXPECT_FALSE(answer(frame));
}

TEST(TooBig, NoIpv6SenderIsToldOfLessThanEveryPathCarries) {
  EXPECT_EQ(answer(frame6(), {kSender, 600, 226})->substr(58, 4), be16(0) + be16(1280));
  std::string frame = frame6();
  frame.replace(18, 2, be16(1240));
  EXPECT_FALSE(answer(frame, {kSender, 600, 226}));
}

TEST(TooBig, ErrorsOfIcmpAreNotAnsweredAndEchosAre) {
  std::string frame = frame4();
  frame[23] = 1;
  for (int type = 0; type < 256; ++type) {
    frame[34] = static_cast<char>(type);
    EXPECT_EQ(answer(frame).has_value(), type == 0 || type == 8) << type;
  }
  frame = frame6(58);
  for (int type = 0; type < 256; ++type) {
    frame[54] = static_cast<char>(type);
    EXPECT_EQ(answer(frame).has_value(), type >= 128) << type;
  }
}

TEST(TooBig, ErrorsAreFoundBehindExtensionHeaders) {
  // Each of eight bytes, the authentication header of twelve.
  for (const unsigned header : {0u, 43u, 44u, 60u, 51u}) {
    std::string frame = frame6(static_cast<unsigned char>(header));
    const std::size_t size = header == 51 ? 12 : 8;
    frame.replace(54, size, std::string(size, '\0'));
    frame[54] = 58;
    if (header == 51) frame[55] = 1;
    frame[54 + size] = 1;  // unreachable
    EXPECT_FALSE(answer(frame)) << header;
    frame[54 + size] = static_cast<char>(128);
    EXPECT_TRUE(answer(frame)) << header;
  }
  // Longer than what was handed over, and without end.
  std::string frame = frame6(60);
  frame[54] = 58;
  frame[55] = static_cast<char>(255);
  EXPECT_FALSE(answer(frame));
  frame.replace(54, 80, std::string(80, '\0'));
  for (std::size_t i = 54; i < 134; i += 8) frame[i] = 60;
  EXPECT_FALSE(answer(frame));
}

TEST(TooBig, NeitherPartsNorGroupsNorNobodyAreTold) {
  std::string frame = frame4();
  frame.replace(20, 2, be16(0x6000));  // The first of several has the ports.
  EXPECT_TRUE(answer(frame));
  frame.replace(20, 2, be16(0x6001));
  EXPECT_FALSE(answer(frame));

  for (const char* address : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"}) {
    frame = frame4();
    EXPECT_FALSE(answer(frame.replace(26, 4, bytes_of(make_address(address))))) << address;
  }
  frame = frame4();
  EXPECT_FALSE(answer(frame.replace(30, 4, bytes_of(make_address("239.1.1.1")))));
  for (const char* address : {"::", "ff02::1"}) {
    frame = frame6();
    EXPECT_FALSE(answer(frame.replace(22, 16, bytes_of(make_address(address))))) << address;
  }
  frame = frame6();
  EXPECT_FALSE(answer(frame.replace(38, 16, bytes_of(make_address("ff02::1")))));
  frame = frame4();
  EXPECT_FALSE(answer(frame.replace(0, 6, bytes_of(kBroadcast))));
}

TEST(TooBig, WhatIsNotSuchAPacketIsNotAnswered) {
  for (const unsigned type : {0x0806u, 0x8100u, 0x88b5u}) {
    EXPECT_FALSE(answer(ethernet(kOwner, kSender, type, std::string(1500, 'x')))) << type;
  }
  std::string frame = frame4();
  frame[14] = 0x46;  // With options.
  EXPECT_FALSE(answer(frame));
  frame[14] = 0x65;
  EXPECT_FALSE(answer(frame));
  frame = frame4();
  EXPECT_FALSE(answer(frame.replace(16, 2, be16(1501))));  // Longer than its frame.
  frame = frame6();
  EXPECT_FALSE(answer(frame.replace(18, 2, be16(1461))));
  for (const std::string& whole : {frame4(), frame6()}) {
    for (std::size_t length = 0; length < 70; ++length) {
      const auto told = answer_too_big(whole.substr(0, length), kWhole, kTag);
      EXPECT_EQ(told.has_value(), length >= (whole == frame4() ? 42u : 62u)) << length;
      EXPECT_FALSE(answer_too_big(whole, length, kTag)) << length;
    }
  }
}

TEST(TooBig, TagsAreReadBackAsTheyWereWritten) {
  EXPECT_EQ(write_tag(kTag), "02.00.00.00.00.01.05.96.e2");
  const std::string bytes("\2\0\0\0\0\1\x05\x96\xe2", 9);
  EXPECT_EQ(read_tag(bytes), kTag);
  EXPECT_FALSE(read_tag(bytes.substr(1)));
  EXPECT_FALSE(read_tag(bytes + "x"));
  EXPECT_FALSE(read_tag(""));
}

}  // namespace
}  // namespace homeport::overlay::ovs
