#include "overlay/datapath/probe_frame.h"

#include <gtest/gtest.h>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;

constexpr std::uint64_t kToken = 0x0123456789abcdef;
const ProbeTime kSent = probe_time(123'456'789'012);
const ProbePair kV4 = {make_address("192.0.2.1"), make_address("192.0.2.2")};
const ProbePair kV6 = {make_address("2001:db8::1"), make_address("2001:db8::2")};

/// The frame that comes back.
std::string answer(std::uint64_t heard) {
  std::string frame = probe_datagram({kV4, kToken, 0}, kSent).substr(8);
  frame[5] = 3;
  for (int i = 0; i < 8; ++i) frame[38 + i] = static_cast<char>(heard >> (56 - 8 * i));
  return frame;
}

TEST(ProbeFrame, IsOnTheWireAsOtherHostsReadIt) {
  EXPECT_EQ(probe_datagram({kV4, kToken, 0}, kSent),
            std::string("\x08\0\0\0\0\0\0\0"      // VXLAN: there is a network, which is 0
                        "\x02HP\0\0\x02"          // to who is asked
                        "\x02HP\0\0\x01\x88\xb5"  // from a host's router
                        "HP\0\x01\0\0\0\0"        // the magic number
                        "\x01\x23\x45\x67\x89\xab\xcd\xef"
                        "\0\0\0\x1c\xbe\x99\x1a\x14"
                        "\0\0\0\0\0\0\0\0",
                        54));
}

TEST(ProbeFrame, IsAsLongAsThePacketIsToBe) {
  auto length = [](const ProbePair& pair, std::uint32_t size) {
    const std::size_t datagram = probe_datagram({pair, kToken, size}, kSent).size();
    return datagram + (pair.local.is_v6() ? 48 : 28);
  };
  EXPECT_EQ(length(kV4, 0), 82u);
  EXPECT_EQ(length(kV6, 0), 102u);
  for (const ProbePair& pair : {kV4, kV6}) {
    for (const std::uint32_t size : {102u, 103u, 1500u, 65535u}) {
      EXPECT_EQ(length(pair, size), size);
    }
    EXPECT_EQ(length(pair, ~0u), 65535u);
  }
}

TEST(ProbeFrame, IsReadBack) {
  const auto said = read_probe(answer(0));
  ASSERT_TRUE(said);
  EXPECT_EQ(said->token, kToken);
  EXPECT_EQ(said->sent, kSent);
  EXPECT_FALSE(said->heard);
  EXPECT_EQ(read_probe(answer(258))->heard, 258u);
  EXPECT_TRUE(read_probe(answer(1) + std::string(1000, 'x')));
}

TEST(ProbeFrame, IsNoneOfAnotherFormOrCutOff) {
  const std::string frame = answer(1);
  for (std::size_t length = 0; length < frame.size(); ++length) {
    EXPECT_FALSE(read_probe(frame.substr(0, length))) << length;
  }
  for (const std::size_t at : {12u, 13u, 14u, 15u, 16u, 17u}) {
    std::string other = frame;
    other[at] ^= 1;
    EXPECT_FALSE(read_probe(other)) << at;
  }
}

}  // namespace
}  // namespace homeport::overlay
