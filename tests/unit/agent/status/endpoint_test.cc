#include "agent/status/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/socket.h>

namespace homeport::agent {
namespace {

TEST(ParseStatusEndpoint, TakesLoopbackAndUnixSockets) {
  EXPECT_EQ(parse_status_endpoint("127.0.0.1:8480")->protocol().family(), AF_INET);
  EXPECT_EQ(parse_status_endpoint("127.9.8.7:0")->protocol().family(), AF_INET);
  EXPECT_EQ(parse_status_endpoint("[::1]:8480")->protocol().family(), AF_INET6);
  EXPECT_EQ(parse_status_endpoint("unix:/run/homeport/status.sock")->protocol().family(), AF_UNIX);
}

struct Refused {
  std::string text;
  std::string why;
};

class ParseStatusEndpointRefuses : public ::testing::TestWithParam<Refused> {};

TEST_P(ParseStatusEndpointRefuses, WithAReason) {
  auto endpoint = parse_status_endpoint(GetParam().text);
  ASSERT_FALSE(endpoint);
  EXPECT_THAT(endpoint.error().message, ::testing::HasSubstr(GetParam().why));
}

INSTANTIATE_TEST_SUITE_P(
    All, ParseStatusEndpointRefuses,
    ::testing::Values(Refused{"0.0.0.0:8480", "is not loopback"},
                      Refused{"[::]:8480", "is not loopback"},
                      Refused{"192.0.2.1:8480", "is not loopback"},
                      Refused{"[2001:db8::1]:8480", "is not loopback"},
                      Refused{"[::ffff:127.0.0.1]:8480", "is not loopback"},
                      Refused{"127.0.0.1", "port number"},
                      Refused{"127.0.0.1:99999", "port number"},
                      Refused{"user@127.0.0.1:80", "is not ADDRESS:PORT"},
                      Refused{"localhost:8480", "does not begin with an IP address"},
                      Refused{"", "port number"}, Refused{"unix:status.sock", "absolute path"},
                      Refused{"unix:/" + std::string(200, 'x'), "longer than"}));

}  // namespace
}  // namespace homeport::agent
