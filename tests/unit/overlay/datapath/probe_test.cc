// Probes of the ways between hosts: the same on every datapath and any mix of them. Each host has a
// second address beside its VTEP.
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"
#include "tests/unit/overlay/datapath/probing.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <map>

namespace homeport::overlay {
namespace {

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

class Probes : public testing::TestWithParam<Fleet> {
 protected:
  Probes() {
    for (int number = 1; number <= 3; ++number) {
      for (int other = 1; other <= 3; ++other) {
        if (other == number) continue;
        host(number).desired.aliases.push_back({host(other).second, host(other).vtep});
      }
      apply(number);
    }
  }

  Host& host(int number) { return fabric_.host(number); }
  void apply(int number) {
    host(number).apply().value();
    host(number).settle();
  }
  bool counts(int number) { return host(number).kind == Kind::ebpf; }
  ProbePair first(int from, int to) { return {host(from).vtep, host(to).vtep}; }
  ProbePair second(int from, int to) { return {host(from).second, host(to).second}; }
  static ProbePair back(const ProbePair& pair) { return {pair.remote, pair.local}; }

  /// By the hosts' own stacks, as soon as their routes are there.
  void expect_kernel_sends(int from, int to, const ProbePair& pair) {
    Socket receiver(host(to).inside, pair.remote.is_v6());
    Socket sender(host(from).inside, pair.remote.is_v6());
    EXPECT_TRUE(eventually([&] {
      try {
        sender.send(pair.remote, receiver.port(), "hello", pair.local);
      } catch (const std::system_error&) {
        return false;
      }
      return receiver.pending();
    }));
  }

  static void expect_size_cannot_be_asked(Asker& asker, const ProbePair& pair) {
    const auto refused = asker.ask({pair, asker.next_token(), 600});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, boost::system::errc::operation_not_supported);
  }

  /// The payload of a probe that says `token`.
  static std::string datagram(const ProbePair& pair, std::uint64_t token) {
    return probe_datagram({pair, token, 0}, std::chrono::steady_clock::now());
  }

  Fabric fabric_{bpf(), GetParam()};
};

TEST_P(Probes, AreAnsweredAlongTheVeryPair) {
  Asker one(host(1)), two(host(2));
  for (Asker* asker : {&one, &two}) {
    const int from = asker == &one ? 1 : 2, to = 3 - from;
    std::vector<ProbePair> pairs = {first(from, to), second(from, to)};
    // Also where the routing would choose another address to send from, which over IPv6 a switch
    // lets it do.
    if ((counts(from) && counts(to)) || !host(to).vtep.is_v6()) {
      pairs.push_back({host(from).vtep, host(to).second});
    }
    for (const ProbePair& pair : pairs) {
      for (const std::uint32_t size : {0u, 600u}) {
        const auto before = std::chrono::steady_clock::now();
        const auto answer = asker->probe(pair, size);
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->pair, pair);
        EXPECT_EQ(answer->size, std::max(size, smallest_probe(pair.local.is_v6())));
        EXPECT_GE(answer->sent, before);
        EXPECT_GT(answer->received, answer->sent);
        EXPECT_LE(answer->received, std::chrono::steady_clock::now());
        EXPECT_EQ(answer->heard.has_value(), counts(to));
      }
    }
  }
}

TEST_P(Probes, AreAsLongAsIsAskedAndNotCut) {
  Asker one(host(1));
  const ProbePair pair = second(1, 2);
  ASSERT_TRUE(one.probe(pair));
  const std::uint32_t smallest = smallest_probe(pair.local.is_v6());
  for (const std::uint32_t size : {0u, smallest, smallest + 1, 1280u, kUnderlayMtu}) {
    const std::uint64_t token = one.next_token();
    one.ask({pair, token, size}).value();
    const auto answer = one.answer(token);
    ASSERT_TRUE(answer) << size;
    EXPECT_EQ(answer->size, std::max(size, smallest));
  }
  if (counts(2) && !pair.local.is_v6()) {
    Sniffer wire = fabric_.sniffer(2);
    ASSERT_TRUE(one.probe(pair));
    const auto answer = wire.next([](const std::string& frame) {
      return frame.size() > 66 && frame.substr(50, 6) == std::string("\x02HP\0\0\x03", 6);
    });
    ASSERT_TRUE(answer);
    EXPECT_EQ(read16(*answer, 20), 0x4000u);  // nor is the answer to be fragmented
  }
  for (const std::uint32_t size : {kUnderlayMtu + 1, 65535u, 65536u}) {
    const auto refused = one.ask({pair, one.next_token(), size});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, boost::system::errc::message_size);
  }
}

// A switch sends by its own bridges alone, whatever else the kernel could send by.
TEST_P(Probes, GoTheWayThatTrafficGoes) {
  const bool v6 = host(1).vtep.is_v6();
  std::map<int, policy::IpAddress> third;
  for (const int number : {1, 2}) {
    third[number] = boost::asio::ip::make_address((v6 ? "2001:db8:3::" : "203.0.113.") +
                                                  std::to_string(number));
    fabric_.add_interface(number, "third", third[number]);
    host(3 - number).desired.aliases.push_back({third[number], host(number).vtep});
  }
  for (const int number : {1, 2}) apply(number);
  for (const int from : {1, 2}) {
    const int to = 3 - from;
    Asker asker(host(from));
    for (const ProbePair& pair :
         {ProbePair{third[from], third[to]}, ProbePair{host(from).vtep, third[to]}}) {
      expect_kernel_sends(from, to, pair);
      if (counts(from) && counts(to)) {
        EXPECT_TRUE(asker.probe(pair));
        continue;
      }
      std::vector<std::uint64_t> tokens;
      for (int i = 0; i < 3; ++i) {
        tokens.push_back(asker.next_token());
        asker.ask({pair, tokens.back(), 0}).value();
      }
      EXPECT_TRUE(asker.probe(first(from, to)));
      for (const std::uint64_t token : tokens) EXPECT_FALSE(asker.answered(token));
      if (counts(from)) continue;
      expect_size_cannot_be_asked(asker, pair);
    }
    if (counts(from)) continue;
    // Nor where the kernel has another way there by the switch's own device.
    const ProbePair pair{host(from).vtep, third[to]};
    host(from).inside.shell(fmt::format(
        "ip {0} rule add from {1} lookup 77 && ip {0} route add {2} dev br-phy table 77",
        v6 ? "-6" : "-4", pair.local.to_string(), pair.remote.to_string()));
    expect_size_cannot_be_asked(asker, pair);
  }
}

TEST_P(Probes, AreLostWithTheLink) {
  Asker one(host(1));
  const ProbePair pair = first(1, 2);
  ASSERT_TRUE(one.probe(pair));
  fabric_.unplug(2);
  const std::uint64_t lost = one.next_token();
  one.ask({pair, lost, 0}).value();
  EXPECT_TRUE(one.probe(first(1, 3)));
  fabric_.plug_in(2);
  EXPECT_TRUE(one.probe(pair));
  EXPECT_FALSE(one.answered(lost));
}

TEST_P(Probes, FromAnAddressThatIsNoHostsAreNotAnswered) {
  std::erase(host(2).desired.aliases, VtepAlias{host(1).second, host(1).vtep});
  apply(2);
  Asker one(host(1)), two(host(2));
  const ProbePair pair = second(1, 2);
  const std::uint64_t before = host(2).totals().drop_unknown_vtep, token = one.next_token();
  EXPECT_TRUE(eventually([&] {
    one.ask({pair, token, 0}).value();
    return host(2).totals().drop_unknown_vtep > before;
  }));
  EXPECT_TRUE(one.probe(first(1, 2)));
  EXPECT_FALSE(one.answered(token));
  EXPECT_EQ(two.heard(back(pair)), 0u);
}

TEST_P(Probes, AreNotBelievedFromAnAddressThatIsNoHosts) {
  std::erase(host(1).desired.aliases, VtepAlias{host(2).second, host(2).vtep});
  apply(1);
  Asker one(host(1));
  const std::uint64_t before = host(1).totals().drop_unknown_vtep, token = one.next_token();
  EXPECT_TRUE(eventually([&] {
    one.ask({second(1, 2), token, 0}).value();
    return host(1).totals().drop_unknown_vtep > before;
  }));
  EXPECT_TRUE(one.probe(first(1, 2)));
  EXPECT_FALSE(one.answered(token));
}

TEST_P(Probes, BrokenAnswersAreNone) {
  Asker one(host(1));
  const ProbePair pair = first(2, 1);
  ASSERT_TRUE(one.probe(back(pair)));
  const std::uint64_t malformed = host(1).totals().drop_malformed;
  std::vector<std::string> broken;
  for (const std::size_t changed : {20u, 22u, 25u}) {  // of its protocol and version
    broken.push_back(as_answer(datagram(pair, changed)));
    broken.back()[changed] ^= 1;
  }
  const std::string whole = as_answer(datagram(pair, 1));
  for (const std::size_t length : {22u, 30u, 53u}) broken.push_back(whole.substr(0, length));
  for (const std::string& each : broken) send_raw(host(2), pair, each);
  // A whole one is for who has asked to believe or not.
  send_raw(host(2), pair, as_answer(datagram(pair, 4711)));
  ASSERT_TRUE(one.answer(4711));
  for (const std::uint64_t token : {1u, 20u, 22u, 25u}) EXPECT_FALSE(one.answered(token)) << token;
  if (counts(1)) {
    EXPECT_EQ(host(1).totals().drop_malformed, malformed + broken.size());
  }
}

TEST_P(Probes, AnswersAreNotAnswered) {
  Asker one(host(1)), two(host(2));
  const ProbePair pair = first(1, 2);
  ASSERT_TRUE(one.probe(pair));
  send_raw(host(1), pair, as_answer(datagram(pair, 4711)));
  ASSERT_TRUE(two.answer(4711));
  ASSERT_TRUE(one.probe(pair));
  EXPECT_FALSE(one.answered(4711));
}

TEST_P(Probes, OfANetworkAreFrames) {
  Asker one(host(1));
  const ProbePair pair = first(1, 2);
  ASSERT_TRUE(one.probe(pair));
  std::string of_network = datagram(pair, 4711), of_nobody = datagram(pair, 4712);
  of_network[6] = static_cast<char>(kVni);
  of_nobody[8 + 5] = 9;  // to another MAC address
  const TotalCounters before = host(2).totals();
  send_raw(host(1), pair, of_network);
  send_raw(host(1), pair, of_nobody);
  EXPECT_TRUE(eventually([&] {
    const TotalCounters now = host(2).totals();
    return now.drop_unknown_address > before.drop_unknown_address &&
           now.drop_unknown_network > before.drop_unknown_network;
  }));
  ASSERT_TRUE(one.probe(pair));
  EXPECT_FALSE(one.answered(4711));
  EXPECT_FALSE(one.answered(4712));
}

TEST_P(Probes, AreToldOfWhereTheyCome) {
  Asker one(host(1)), two(host(2));
  const auto begun = std::chrono::steady_clock::now();
  const ProbePair pair = second(1, 2);
  ASSERT_TRUE(one.probe(pair));
  EXPECT_TRUE(eventually([&] { return two.heard(back(pair)) > 0; }));
  const std::uint64_t before = two.heard(back(pair));
  std::optional<std::uint64_t> counted;
  for (int i = 1; i <= 3; ++i) {
    const std::uint64_t token = one.next_token();
    one.ask({pair, token, 0}).value();
    const auto answer = one.answer(token);
    ASSERT_TRUE(answer);
    if (counts(2)) {
      EXPECT_EQ(answer->heard, counted ? *counted + 1 : answer->heard);
      counted = answer->heard;
    }
  }
  EXPECT_TRUE(eventually([&] { return two.heard(back(pair)) >= before + 3; }));
  EXPECT_EQ(two.heard(back(pair)), before + 3);
  if (counts(2)) {
    EXPECT_EQ(counted, before + 3);
  }
  for (const ProbesHeard& each : two.wire().heard().value()) {
    EXPECT_EQ(each.pair, back(pair));
    EXPECT_GT(each.last, begun);
    EXPECT_LT(each.last, std::chrono::steady_clock::now());
  }
}

TEST_P(Probes, AreSparedByTrafficThatIsTold) {
  const ProbePair way = second(1, 2);
  for (const int number : {1, 2}) {
    Host& each = host(number);
    const ProbePair own = number == 1 ? way : back(way);
    each.desired.paths = {
        {host(3 - number).vtep, policy::TrafficClass::best_effort, own.local, own.remote}};
    apply(number);
  }
  Asker one(host(1)), two(host(2));
  std::optional<WayUsed> sender;
  ASSERT_TRUE(eventually([&] {
    sender = one.used(way);
    return sender && two.used(back(way));
  }));
  EXPECT_EQ(sender->prompt, counts(1)) << "a switch tells later";
  Socket server(fabric_.app(2).inside, false), client(fabric_.app(1).inside, false);
  // From the first datagram that arrives. A switch that is too busy to be asked tells nothing.
  std::optional<ProbeTime> begun;
  std::chrono::steady_clock::duration told{};
  EXPECT_TRUE(eventually([&] {
    const auto now = std::chrono::steady_clock::now();
    client.send(fabric_.app(2).v4, server.port(), "hello");
    if (!server.receive()) return false;
    if (!begun) begun = now;
    sender = one.used(way);
    const auto receiver = two.used(back(way));
    told = std::chrono::steady_clock::now() - *begun;
    return sender && receiver && sender->sent > *begun && receiver->heard > *begun;
  }));
  RecordProperty("told_after_ms", std::to_string(told / std::chrono::milliseconds(1)));
  EXPECT_LT(told, std::chrono::seconds(3));
}

TEST_P(Probes, ChangeNothingThatIsProgrammed) {
  host(1).desired.paths = {
      {host(2).vtep, policy::TrafficClass::best_effort, host(1).second, host(2).second}};
  apply(1);
  Asker one(host(1)), two(host(2));
  for (const ProbePair& pair : {first(1, 2), second(1, 2)}) ASSERT_TRUE(one.probe(pair));
  Socket server(fabric_.app(2).inside, false), client(fabric_.app(1).inside, false);
  client.send(fabric_.app(2).v4, server.port(), "hello");
  EXPECT_TRUE(server.receive());
  for (int number : {1, 2}) {
    EXPECT_TRUE(host(number).untouched());
    DesiredState desired = host(number).desired;
    normalize(desired);
    EXPECT_EQ(host(number).read_back().value(), desired);
    apply(number);
    EXPECT_THAT(host(number).datapath->mended(), testing::IsEmpty());
  }
}

TEST_P(Probes, GoOnWithANewAgent) {
  Asker one(host(1)), two(host(2));
  const ProbePair pair = first(1, 2);
  ASSERT_TRUE(one.probe(pair));
  for (int number : {1, 2}) {
    host(number).restart();
    apply(number);
  }
  one.restart();
  two.restart();
  EXPECT_TRUE(one.probe(pair));
  EXPECT_TRUE(eventually([&] { return two.heard(back(pair)) > 0; }));
}

INSTANTIATE_TEST_SUITE_P(, Probes, testing::ValuesIn(fleets()), fleet_name);

}  // namespace
}  // namespace homeport::overlay
