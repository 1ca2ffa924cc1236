// What other hosts have sent, as the kernel puts it together.
#include "overlay/datapath/ovs/arrivals.h"

#include <gtest/gtest.h>

#include <string>

namespace homeport::overlay::ovs {
namespace {

TEST(Arrivals, VxlanHasAKeyAndAFrame) {
  const std::string frame(60, 'f');
  const std::string datagram = std::string("\x08\0\0\0\x80\0\x2a\0", 8) + frame;
  const auto found = read_vxlan(datagram);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->key, 0x80002au);
  EXPECT_EQ(found->frame, frame);
}

TEST(Arrivals, FlagsAndBitsThatAreReservedAreIgnored) {
  const std::string datagram = std::string("\xff\1\2\3\0\0\x2a\xff", 8) + std::string(14, 'f');
  const auto found = read_vxlan(datagram);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->key, 42u);
}

TEST(Arrivals, WhatIsNoVxlanIsNone) {
  const std::string whole = std::string("\x08\0\0\0\0\0\x2a\0", 8) + std::string(14, 'f');
  EXPECT_TRUE(read_vxlan(whole));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(read_vxlan(whole.substr(0, length))) << length;
  }
  EXPECT_FALSE(read_vxlan(std::string("\xf7") + whole.substr(1)));
}

}  // namespace
}  // namespace homeport::overlay::ovs
