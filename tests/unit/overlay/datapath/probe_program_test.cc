// What the eBPF programs note of probes, and of traffic beside them.
#include "overlay/datapath/ebpf/probe.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/probing.h"

namespace homeport::overlay {
namespace {

using enum policy::TrafficClass;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

class ProbePrograms : public testing::TestWithParam<Underlay> {
 protected:
  ProbePrograms() {
    for (int number : {1, 2}) {
      Host &own = host(number), &other = host(3 - number);
      own.desired.aliases = {{other.second, other.vtep}};
      own.apply().value();
    }
  }

  Host& host(int number) { return fabric_.host(number); }
  ProbePair first(int from, int to) { return {host(from).vtep, host(to).vtep}; }
  ProbePair second(int from, int to) { return {host(from).second, host(to).second}; }
  void set_path(int from, const ProbePair& way) {
    host(from).set_path({host(3 - from).vtep, best_effort, way.local, way.remote}).value();
  }
  void send(int from, int to) {
    App &sender = fabric_.app(from), &receiver = fabric_.app(to);
    Socket server(receiver.inside, false), client(sender.inside, false);
    client.send(receiver.v4, server.port(), "hello");
    EXPECT_EQ(server.receive(), "hello");
  }

  Fabric fabric_{bpf(), 2, GetParam()};
};

TEST_P(ProbePrograms, MalformedAsksAreDroppedAndCounted) {
  Asker one(host(1)), two(host(2));
  const ProbePair pair = first(1, 2);
  ASSERT_TRUE(one.probe(pair));
  const std::uint64_t before = host(2).totals().drop_malformed;
  const std::uint64_t heard = two.heard({pair.remote, pair.local});
  const std::string whole = probe_datagram({pair, 4711, 0}, std::chrono::steady_clock::now());
  std::vector<std::string> broken = {whole.substr(0, 22), whole.substr(0, 53)};
  for (const std::size_t changed : {21u, 22u, 25u}) {
    broken.push_back(whole);
    broken.back()[changed] ^= 1;
  }
  for (const std::string& each : broken) send_raw(host(1), pair, each);
  EXPECT_TRUE(
      eventually([&] { return host(2).totals().drop_malformed == before + broken.size(); }));
  EXPECT_EQ(two.heard({pair.remote, pair.local}), heard);
  ASSERT_TRUE(one.probe(pair));
  EXPECT_FALSE(one.answered(4711));
}

TEST_P(ProbePrograms, AnswersThatNobodyTakesAreLostBeyondTheRoomForThem) {
  Asker one(host(1)), two(host(2));
  const ProbePair pair = first(1, 2);
  ASSERT_TRUE(one.probe(pair));
  const std::uint64_t begun = two.heard({pair.remote, pair.local});
  constexpr std::uint64_t kAsked = 2 * HP_ANSWERS_BYTES / sizeof(hp_probe_answer);
  // No more on the way at a time than a device's queue holds.
  for (std::uint64_t asked = 0; asked < kAsked;) {
    for (int i = 0; i < 100; ++i, ++asked) one.ask({pair, one.next_token(), 0}).value();
    ASSERT_TRUE(eventually([&] { return two.heard({pair.remote, pair.local}) >= begun + asked; }));
  }
  std::uint64_t taken = 0, before = 0;
  do {
    before = taken;
    one.wire().take_answers([&](const ProbeAnswer&) { ++taken; });
  } while (taken > before);
  EXPECT_GT(taken, kAsked / 4);
  EXPECT_LT(taken, kAsked);
  EXPECT_TRUE(one.probe(pair));
}

TEST_P(ProbePrograms, AsksAreCountedOnAcrossAgents) {
  Asker one(host(1)), two(host(2));
  const ProbePair pair = first(1, 2);
  ASSERT_TRUE(one.probe(pair));
  const std::uint64_t before = two.heard({pair.remote, pair.local});
  host(2).restart();
  host(2).apply().value();
  two.restart();
  EXPECT_EQ(two.heard({pair.remote, pair.local}), before);
}

TEST_P(ProbePrograms, WaysTellWhenTheyAreUsed) {
  Asker one(host(1)), two(host(2));
  for (const bool is_second : {false, true}) {
    const ProbePair way = is_second ? second(1, 2) : first(1, 2);
    const ProbePair back{way.remote, way.local};
    EXPECT_FALSE(one.used(way));
    set_path(1, way);
    // Probes are no use of it.
    ASSERT_TRUE(one.probe(way));
    ASSERT_TRUE(two.probe(back));
    ASSERT_TRUE(eventually([&] { return one.used(way).has_value(); }));
    EXPECT_FALSE(one.used(way)->sent);
    // Otherwise its other end may have been heard by the way of the round before.
    if (!is_second) {
      EXPECT_FALSE(one.used(way)->heard);
    }

    using namespace std::chrono_literals;
    auto just_now = [](const std::optional<ProbeTime>& when) {
      const auto now = std::chrono::steady_clock::now();
      return when && *when <= now && *when > now - 10s;
    };
    send(1, 2);
    EXPECT_TRUE(just_now(one.used(way)->sent));
    set_path(2, back);
    ASSERT_TRUE(eventually([&] { return two.used(back).has_value(); }));
    send(2, 1);
    EXPECT_TRUE(just_now(one.used(way)->heard));
    EXPECT_TRUE(just_now(two.used(back)->sent));
    EXPECT_TRUE(just_now(two.used(back)->heard));
    EXPECT_TRUE(host(1).untouched());
    // A later frame is told of as later.
    const auto sent = one.used(way)->sent, heard = two.used(back)->heard;
    EXPECT_TRUE(eventually([&] {
      send(1, 2);
      return one.used(way)->sent > sent && two.used(back)->heard > heard;
    }));
  }
}

TEST_P(ProbePrograms, WaysOfTheLongWayTellTheSame) {
  for (int number : {1, 2}) {
    host(number).options.fast_send = host(number).options.fast_receive = false;
    host(number).restart();
    host(number).apply().value();
  }
  Asker one(host(1)), two(host(2));
  const ProbePair way = first(1, 2), back = first(2, 1);
  set_path(1, way);
  set_path(2, back);
  send(1, 2);
  EXPECT_TRUE(one.used(way)->sent);
  EXPECT_TRUE(two.used(back)->heard);
  EXPECT_FALSE(two.used(back)->sent);
  EXPECT_FALSE(one.used(way)->heard);
}

INSTANTIATE_TEST_SUITE_P(, ProbePrograms, testing::Values(Underlay::v4, Underlay::v6),
                         [](const auto& info) {
                           return info.param == Underlay::v4 ? "OverIpv4" : "OverIpv6";
                         });

}  // namespace
}  // namespace homeport::overlay
