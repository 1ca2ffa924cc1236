#include "agent/trace/trace_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace homeport::agent {
namespace {

using overlay::TraceEnd;
using testing::ElementsAre;
using testing::HasSubstr;

policy::IpAddress ip(const char* text) {
  return boost::asio::ip::make_address(text);
}

overlay::TracedPacket packet() {
  return {.source_mac = {{2, 0, 0, 0, 0, 1}},
          .destination_mac = {{2, 0, 0, 0, 0, 2}},
          .source = ip("fd01::1"),
          .destination = ip("fd01::2"),
          .protocol = 58,
          .length = 1500,
          .hops = 63,
          .dont_fragment = false,
          .source_port = 40000,
          .destination_port = 22};
}

TraceRequest tunnel_request() {
  return to_message(TraceTunnel{{ip("192.0.2.1"), 7, true}, packet()}, true);
}

TEST(TraceMessage, CarriesWhatArrivesThroughATunnel) {
  const TraceRequest request = tunnel_request();
  EXPECT_TRUE(request.count());
  const auto tunnel = std::get<TraceTunnel>(from_message(request).value());
  EXPECT_EQ(tunnel.origin.vtep, ip("192.0.2.1"));
  EXPECT_EQ(tunnel.origin.vni, 7u);
  EXPECT_TRUE(tunnel.origin.marked);
  EXPECT_EQ(tunnel.packet, packet());
}

TEST(TraceMessage, CarriesAQuestion) {
  const TraceQuestion question{.from = "vm1",
                               .to = ip("10.1.0.5"),
                               .source = ip("10.1.0.6"),
                               .protocol = 6,
                               .length = 1400,
                               .hops = 3,
                               .dont_fragment = false,
                               .port = 22,
                               .source_port = 40000};
  EXPECT_EQ(std::get<TraceQuestion>(from_message(to_message(question, false)).value()), question);
}

TEST(TraceMessage, RefusesAPacketThatCannotBe) {
  const std::vector<std::function<void(TraceTunnelTold&)>> breaks = {
      [](auto& told) { told.mutable_vtep()->set_bytes("abc"); },
      [](auto& told) { told.clear_vtep(); },
      [](auto& told) { told.set_vni(0); },
      [](auto& told) { told.set_vni(policy::kVniMax + 1); },
      [](auto& told) { told.clear_packet(); },
      [](auto& told) { told.mutable_packet()->set_source_mac("12345"); },
      [](auto& told) { told.mutable_packet()->set_destination_mac("1234567"); },
      [](auto& told) { told.mutable_packet()->mutable_source()->set_bytes("four"); },
      [](auto& told) { told.mutable_packet()->set_protocol(256); },
      [](auto& told) { told.mutable_packet()->set_length_bytes(65536); },
      [](auto& told) { told.mutable_packet()->set_source_port(65536); },
      [](auto& told) { told.mutable_packet()->set_destination_port(65536); },
      [](auto& told) { told.mutable_packet()->set_hops(256); }};
  for (const auto& break_it : breaks) {
    TraceRequest request = tunnel_request();
    break_it(*request.mutable_tunnel());
    EXPECT_FALSE(from_message(request));
  }
  EXPECT_FALSE(from_message(TraceRequest{}));
  TraceRequest question = to_message(TraceQuestion{.from = "vm1", .to = ip("10.1.0.5")}, false);
  question.mutable_question()->set_from("");
  EXPECT_FALSE(from_message(question));
  question.mutable_question()->set_from("vm1");
  EXPECT_TRUE(from_message(question));
  question.mutable_question()->mutable_to()->set_bytes("");
  EXPECT_FALSE(from_message(question));
}

overlay::TraceAnswer answer() {
  overlay::TraceAnswer answer;
  answer.found.steps = {{"destination", "hp_addresses 7 02:00:00:00:00:02", "at 192.0.2.2"}};
  answer.found.end = TraceEnd::sent;
  answer.found.copies = {{{}, ip("192.0.2.2"), true}};
  answer.found.counters = {"forwarded"};
  answer.found.vni = 7;
  answer.found.packet = packet();
  return answer;
}

TEST(TraceMessage, TellsATrace) {
  overlay::TraceAnswer both = answer();
  both.left = both.found;
  both.left->end = TraceEnd::delivered;
  both.left->copies = {{"tap1", {}, false}};
  TraceReply reply = to_message(both);
  put_counts({{"packets", 3}}, reply);
  const TraceTold told = from_message(reply, "hostB").value();
  EXPECT_EQ(told.host.host, "hostB");
  EXPECT_EQ(told.vni, 7u);
  EXPECT_EQ(told.packet, packet());
  EXPECT_EQ(told.host.found.end, "sent");
  EXPECT_EQ(told.host.found.copies.at(0).vtep, ip("192.0.2.2"));
  EXPECT_TRUE(told.host.found.copies.at(0).marked);
  EXPECT_THAT(told.host.found.counters, ElementsAre("forwarded"));
  EXPECT_EQ(told.host.left->copies.at(0).device, "tap1");
  EXPECT_EQ(told.host.counts->at("packets"), 3u);
}

TEST(TraceMessage, LeavesOutWhatIsTooMuch) {
  overlay::TraceAnswer many = answer();
  many.found.end = TraceEnd::copied;
  for (int i = 0; i < 300; ++i) {
    many.found.steps.push_back(many.found.steps.front());
    many.found.copies.push_back(many.found.copies.front());
  }
  const TraceTold told = from_message(to_message(many), "hostB").value();
  EXPECT_EQ(told.host.found.steps.size(), 256u);
  EXPECT_EQ(told.host.left_out, 90u);
}

TEST(TraceMessage, ATerminalObeysNothingOfIt) {
  TraceReply reply = to_message(answer());
  reply.mutable_found()->mutable_steps(0)->set_found("\x1b[2J");
  reply.mutable_found()->set_counters(0, "\x07");
  const TraceTold told = from_message(reply, "hostB").value();
  EXPECT_EQ(told.host.found.steps.at(0).found, "?[2J");
  EXPECT_THAT(told.host.found.counters, ElementsAre("?"));
}

TEST(TraceMessage, RefusesATraceThatCannotBe) {
  const std::vector<std::function<void(TraceReply&)>> breaks = {
      [](auto& reply) { reply.mutable_found()->set_end("eaten"); },
      [](auto& reply) { reply.mutable_found()->mutable_copies(0)->clear_vtep(); },
      [](auto& reply) { reply.mutable_found()->mutable_copies(0)->set_device("tap1"); },
      [](auto& reply) { reply.mutable_found()->set_vni(policy::kVniMax + 1); },
      [](auto& reply) { reply.mutable_found()->clear_packet(); },
      [](auto& reply) { reply.mutable_left()->set_end(""); },
      [](auto& reply) {
        for (int i = 0; i < 300; ++i) reply.mutable_found()->add_steps();
      },
      [](auto& reply) {
        for (int i = 0; i < 600; ++i) (*reply.mutable_counts())[std::to_string(i)] = 1;
      }};
  for (const auto& break_it : breaks) {
    TraceReply reply = to_message(answer());
    break_it(reply);
    EXPECT_FALSE(from_message(reply, "hostB"));
  }
  EXPECT_THAT(from_message(TraceReply{}, "hostB").error().message, HasSubstr("upgrade"));
  TraceReply problem;
  problem.set_problem("no datapath");
  EXPECT_EQ(from_message(problem, "hostB").error().message, "no datapath");
}

}  // namespace
}  // namespace homeport::agent
