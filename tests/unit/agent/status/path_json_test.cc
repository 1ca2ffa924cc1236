// The paths as JSON, as metrics and as answers to requests; figures for a person.
#include "agent/status/path_json.h"

#include "agent/status/metrics.h"
#include "agent/status/path_metrics.h"
#include "agent/status/path_units.h"
#include "agent/status/reply.h"
#include "tests/unit/agent/status/fixed_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <sstream>

namespace homeport::agent {
namespace {

namespace http = boost::beast::http;
namespace json = boost::json;
using policy::Micros;
using testing::HasSubstr;
using testing::Not;

class PathRequests : public testing::Test {
 protected:
  StatusResponse ask(const std::string& target) {
    StatusRequest request(http::verb::get, target, 11);
    request.set(http::field::host, "localhost");
    return reply_to(request, true,
                    [this](const StatusWanted& wanted) {
                      wanted_ = wanted;
                      return model_;
                    })
        .response;
  }
  json::value body(const std::string& target) {
    const StatusResponse response = ask(target);
    EXPECT_EQ(response.result(), http::status::ok) << target;
    return json::parse(response.body());
  }

  StatusModel model_ = test::fixed_model();
  StatusWanted wanted_;
};

TEST_F(PathRequests, AllPeersAreASummary) {
  const json::value paths = body("/v1/paths");
  EXPECT_EQ(wanted_.part, StatusPart::paths);
  EXPECT_EQ(wanted_.peer, "");
  EXPECT_EQ(paths.at("host"), "hostA");
  EXPECT_EQ(paths.at("relaying"), (json::object{{"hosts", 2}, {"labels", 12}}));
  EXPECT_TRUE(paths.at("next").is_null());
  EXPECT_EQ(paths.at_pointer("/ends/0/interface"), "eth0");
  EXPECT_EQ(paths.at_pointer("/ends/0/bits_per_second"), 10'000'000'000);
  EXPECT_EQ(paths.at_pointer("/ends/0/labels/1"), "wan");
  EXPECT_TRUE(paths.at_pointer("/ends/1/mtu").is_null());
  EXPECT_TRUE(paths.at_pointer("/ends/2/address").is_null());
  EXPECT_EQ(paths.at_pointer("/ends/2/not_offered"), "it has no address");
  const json::value& of = paths.at_pointer("/peers/0/classes/0");
  EXPECT_EQ(of.at("class"), "interactive");
  EXPECT_EQ(of.at("state"), "agreed");
  EXPECT_EQ(of.at("cause"), "better");
  EXPECT_EQ(of.at_pointer("/path/local/address"), "2001:db8:aaaa:bbbb:cccc:dddd:1111:1");
  EXPECT_EQ(of.at_pointer("/quality/rtt_us"), 1'250);
  EXPECT_EQ(of.at_pointer("/quality/in/loss_ppm"), 20'000);
  EXPECT_EQ(of.at_pointer("/quality/in/reachable"), true);
  EXPECT_EQ(of.at_pointer("/changes/better"), 2);
  EXPECT_EQ(of.at_pointer("/candidates/damped"), 1);
  EXPECT_EQ(of.at_pointer("/candidates/poor"), 0);
  EXPECT_FALSE(of.as_object().contains("ranked"));
  EXPECT_TRUE(paths.at_pointer("/peers/0/classes/2/path").is_null());
  EXPECT_TRUE(paths.at_pointer("/peers/1/since").is_null());
}

TEST_F(PathRequests, OnePeerIsEverything) {
  const json::value peer = body("/v1/paths/host%42");
  EXPECT_EQ(wanted_.part, StatusPart::paths);
  EXPECT_EQ(wanted_.peer, "hostB");
  EXPECT_EQ(peer.at("host"), "hostA");
  EXPECT_EQ(peer.at("role"), "controlling");
  EXPECT_EQ(peer.at("epoch"), 1'767'225'598'250'000);
  EXPECT_EQ(peer.at("probes_answered"), 990);
  EXPECT_EQ(peer.at_pointer("/peer_ends/0/mtu"), 9000);
  const json::value& of = peer.at_pointer("/classes/0");
  EXPECT_EQ(of.at_pointer("/ranked/0/in_use"), true);
  EXPECT_EQ(of.at_pointer("/ranked/0/counted_us"), 22'000);
  EXPECT_TRUE(of.at_pointer("/ranked/0/remedy").is_null());
  EXPECT_EQ(of.at_pointer("/ranked/1/damped_until"), "2026-01-01T00:01:58.250Z");
  EXPECT_TRUE(of.at_pointer("/ranked/1/quality/out/reachable").is_null());
  EXPECT_EQ(of.at_pointer("/ranked/2/path/relay"), "hostC");
  EXPECT_TRUE(of.at_pointer("/ranked/2/path/remote/interface").is_null());
  EXPECT_EQ(of.at_pointer("/ranked/2/obstacle"), "too-costly");
  EXPECT_EQ(of.at_pointer("/ranked/2/limit"), 20);
  EXPECT_TRUE(of.at_pointer("/ranked/2/age_us").is_null());
  EXPECT_THAT(of.at_pointer("/explanation/1").as_string().c_str(), HasSubstr("It comes first"));
  EXPECT_TRUE(peer.at_pointer("/recent/0/from").is_null());
  EXPECT_EQ(peer.at_pointer("/recent/1/cause"), "nothing-usable");
}

TEST_F(PathRequests, AnUnknownPeerIsNotFoundAndWhereToLookIsSaid) {
  const StatusResponse response = ask("/v1/paths/hostX");
  EXPECT_EQ(response.result(), http::status::not_found);
  const json::value problem = json::parse(response.body());
  EXPECT_THAT(problem.at("detail").as_string().c_str(), HasSubstr("/v1/paths lists those"));
  EXPECT_THAT(response.body(), Not(HasSubstr("hostX"))) << "nothing of a request is repeated";
}

TEST_F(PathRequests, ThePeersComeInPages) {
  EXPECT_EQ(body("/v1/paths?limit=1").at("next"), "hostB");
  const json::value rest = body("/v1/paths?after=hostB");
  EXPECT_EQ(rest.at("peers").as_array().size(), 1u);
  EXPECT_EQ(rest.at_pointer("/peers/0/peer"), "hostC");
  model_.paths = {};
  EXPECT_TRUE(body("/v1/paths").at("peers").as_array().empty());
}

TEST(PathMetrics, CarryTheValues) {
  const std::string text = "\n" + to_metrics(test::fixed_model());
  for (const char* line :
       {"homeport_path_peers 2", "homeport_path_relaying_hosts 2",
        "homeport_path_relaying_labels 12", "homeport_path_peer_connected{peer=\"hostB\"} 1",
        "homeport_path_peer_connected{peer=\"hostC\"} 0",
        "homeport_path_probes_sent_total{peer=\"hostB\"} 1000",
        "homeport_path_probes_answered_total{peer=\"hostB\"} 990",
        "homeport_path_info{peer=\"hostB\",class=\"default\",local_interface=\"eth0\","
        "local_address=\"192.0.2.1\",remote_interface=\"eth0\",remote_address=\"198.51.100.2\","
        "relay=\"\"} 1",
        "homeport_path_agreed{peer=\"hostB\",class=\"interactive\"} 1",
        "homeport_path_agreed{peer=\"hostB\",class=\"default\"} 0",
        "homeport_path_rtt_seconds{peer=\"hostB\",class=\"interactive\"} 0.00125",
        "homeport_path_loss_ratio{peer=\"hostB\",class=\"interactive\",direction=\"in\"} 0.02",
        "homeport_path_changes_total{peer=\"hostB\",class=\"interactive\",cause=\"better\"} 2",
        "homeport_path_candidates{peer=\"hostB\",class=\"interactive\",standing=\"excluded\"} 1",
        "homeport_path_candidates{peer=\"hostC\",class=\"bulk\",standing=\"good\"} 0"}) {
    EXPECT_THAT(text, HasSubstr("\n" + std::string(line) + "\n"));
  }
  EXPECT_THAT(text, Not(HasSubstr("homeport_path_rtt_seconds{peer=\"hostC\""))) << "not known";
}

TEST(PathMetrics, OfALargeFleetAreBounded) {
  StatusModel model = test::fixed_model();
  const PeerPathsSnapshot peer = model.paths.peers.front();
  model.paths.peers.clear();
  for (std::size_t i = 0; i < 2 * kPathMetricsPeers; ++i) {
    model.paths.peers.push_back(peer);
    model.paths.peers.back().peer = fmt::format("host{:04}", 2 * kPathMetricsPeers - 1 - i);
  }
  const std::string text = to_metrics(model);
  std::size_t connected = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    connected += line.starts_with("homeport_path_peer_connected{");
  }
  EXPECT_EQ(connected, kPathMetricsPeers);
  EXPECT_THAT(text, HasSubstr("\nhomeport_path_peers 400\n")) << "that some are left out is seen";
  EXPECT_THAT(text, HasSubstr("{peer=\"host0000\"}"));
  EXPECT_THAT(text, Not(HasSubstr("host0200")));
}

TEST(PathUnits, AreShortAndNeverSayNothingWhereThereIsSome) {
  EXPECT_EQ(format_micros(Micros(0)), "0.00 ms");
  EXPECT_EQ(format_micros(Micros(9'994)), "9.99 ms");
  EXPECT_EQ(format_micros(Micros(9'996)), "10.0 ms");
  EXPECT_EQ(format_micros(Micros(120'400)), "120 ms");
  EXPECT_EQ(format_micros(Micros(999'600)), "1.00 s");
  EXPECT_EQ(format_micros(Micros(75'340'000)), "75.3 s");
  EXPECT_EQ(format_loss(0), "0 %");
  EXPECT_EQ(format_loss(50), "< 0.01 %");
  EXPECT_EQ(format_loss(1'500), "0.15 %");
  EXPECT_EQ(format_loss(20'000), "2.0 %");
  EXPECT_EQ(format_loss(policy::kAllLost), "100 %");
  EXPECT_EQ(format_rate(0), "0 bit/s");
  EXPECT_EQ(format_rate(50'000'000), "50.0 Mbit/s");
  EXPECT_EQ(format_rate(940'000'000), "940 Mbit/s");
  EXPECT_EQ(format_rate(10'000'000'000), "10.0 Gbit/s");
  EXPECT_EQ(format_rate(999'900'000), "1.0 Gbit/s");
}

}  // namespace
}  // namespace homeport::agent
