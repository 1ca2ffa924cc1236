#include "policy/address.h"

#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

TEST(Endpoint, IsReadAsItIsWritten) {
  for (const char* text : {"192.0.2.1:6641", "[2001:db8::1]:6641", "[::]:65535"}) {
    ASSERT_TRUE(parse_endpoint(text)) << text;
    EXPECT_EQ(to_string(*parse_endpoint(text)), text);
  }
}

TEST(Endpoint, IsNothingElse) {
  for (const char* text :
       {"", ":", "192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:66x",
        "192.0.2.1: 66", "192.0.2.1:-1", ":6641", "host:6641", "2001:db8::1:6641",
        "[192.0.2.1]:6641", "[]:6641", "[2001:db8::1:6641", "2001:db8::1]:6641"}) {
    EXPECT_FALSE(parse_endpoint(text)) << text;
  }
}

TEST(Address, HasNoZone) {
  EXPECT_TRUE(parse_address("192.0.2.1"));
  EXPECT_TRUE(parse_address("fe80::1"));
  for (const char* text : {"", "192.0.2", "192.0.2.1/24", "fe80::1%eth0", "fe80::1%1", "host"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

TEST(Address, IsOneHostsBeyondItsLinkOrNot) {
  for (const char* text : {"192.0.2.1", "10.0.0.0", "1.0.0.1", "169.253.255.255", "223.255.255.255",
                           "2001:db8::1", "fd00::1", "64:ff9b::1"}) {
    EXPECT_TRUE(is_unicast_beyond_link(*parse_address(text))) << text;
  }
  for (const char* text : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.1", "169.254.169.254",
                           "224.0.0.9", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::",
                           "::1", "fe80::5", "febf::1", "ff02::1", "ff0e::1", "::ffff:192.0.2.1"}) {
    EXPECT_FALSE(is_unicast_beyond_link(*parse_address(text))) << text;
  }
}

}  // namespace
}  // namespace homeport::policy
