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

}  // namespace
}  // namespace homeport::policy
