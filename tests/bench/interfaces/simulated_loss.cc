#include "tests/bench/interfaces/simulated_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "policy/path/chooser.h"
#include "policy/path/exchange_time.h"
#include "tests/unit/overlay/probing/probed_network.h"

namespace homeport {
namespace {

using namespace std::chrono_literals;
using policy::Micros;
using policy::Time;

const std::string kPeer = "peer";
constexpr double kLossy = 0.02;
constexpr int kShown = 4'000;  // ppm beyond what is usual
/// PathControllers tells the negotiator of news at once, and now and then.
constexpr auto kTold = 100ms;
/// SpeakerTimes::soon, and some travel.
constexpr auto kSoon = 200ms;
constexpr auto kTravel = 10ms;

/// What one of the hosts watches: the way that interactive traffic takes.
struct Host {
  explicit Host(unsigned seed) : network(seed) {
    used.watched = true;
    truth().sends = truth().receives = true;
    network.follow(kPeer, {used});
  }
  overlay::TrueWay& truth() { return network.truth[used.pair]; }
  policy::PathQuality quality() const { return network.quality(kPeer, used); }

  overlay::ProbedNetwork network;
  overlay::ProbedWay used = overlay::ProbedNetwork::used(overlay::ProbedNetwork::way(1, 1));
};

/// The host that chooses, and the other one, if it tells what it measures. Another path is as good
/// as this one, and known to be.
class Conversation {
 public:
  Conversation(unsigned seed, double usual, bool two) : here_(seed), usual_(usual) {
    if (two) there_.emplace(seed + 1'000'000);
    lose(usual);
    stay();
    while (now() < Time(10s)) leaves();
    stay();
  }

  Time now() const { return here_.network.now(); }
  void lose(double share) {
    here_.truth().out_loss = share;
    if (there_) there_->truth().in_loss = share;
  }
  void stay() { chooser_.use(now(), here_.used.path, policy::ChoiceCause::first); }
  policy::LossPpm loss() const { return merged().out.loss.value_or(0); }
  void forget_bytes() { here_.network.forget_totals(); }
  /// Of this host's asks and the answers to them.
  std::uint64_t bytes() const { return here_.network.bytes(); }

  /// To the next moment in which something may be known; whether the path is left then.
  bool leaves() {
    const auto any = [] { return true; };
    const bool news = here_.network.until(kPeer, any, 10ms).has_value();
    if (there_) listen();
    if (news || now() - told_at_ >= kTold) {
      told_at_ = now();
      rank();
    }
    if (ranked_.empty()) return false;
    return chooser_.choose(now(), ranked_, std::nullopt, true) != policy::ChoiceCause::unchanged;
  }

 private:
  void listen() {
    if (there_->network.now() < now()) {
      there_->network.run(std::chrono::duration_cast<Micros>(now() - there_->network.now()));
    }
    if (says_at_ && now() >= *says_at_ + kTravel) {
      says_at_.reset();
      heard_ = said_;
      rank();
    }
    const policy::PathQuality quality = there_->quality();
    if (says_at_ || now() - said_at_ < kSoon || !differ_materially(quality, said_)) return;
    said_ = quality;
    said_at_ = now();
    says_at_ = now();
  }

  policy::PathQuality merged() const { return merge(here_.quality(), heard_); }

  void rank() {
    policy::PathQuality spare = here_.quality();
    spare.rtt = here_.truth().out + here_.truth().in;
    spare.out.loss = static_cast<policy::LossPpm>(std::lround(usual_ * policy::kAllLost));
    spare.in.loss = 0;
    ranked_ = {of(here_.used.path, merged()),
               of(policy::path_of("192.0.2.2", "198.51.100.2"), spare)};
    std::stable_sort(ranked_.begin(), ranked_.end(), [](const auto& one, const auto& other) {
      return one.counted < other.counted;
    });
  }
  static policy::RankedPath of(const policy::PathId& path, const policy::PathQuality& quality) {
    policy::RankedPath ranked{.path = path};
    ranked.time = policy::exchange_time(policy::TrafficClass::interactive, quality, 0);
    ranked.counted = ranked.time.total();
    return ranked;
  }

  Host here_;
  std::optional<Host> there_;
  const double usual_;
  policy::Chooser chooser_;
  std::vector<policy::RankedPath> ranked_;
  policy::PathQuality said_, heard_;
  Time told_at_{}, said_at_{};
  std::optional<Time> says_at_;
};

double milliseconds(Time::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

std::string summary(std::vector<double>& times, double limit) {
  std::sort(times.begin(), times.end());
  const auto late = times.end() - std::upper_bound(times.begin(), times.end(), limit);
  return fmt::format("{{\"median_ms\":{:.0f},\"p97_ms\":{:.0f},\"late\":{:.4f}}}",
                     times[times.size() / 2], times[times.size() * 97 / 100],
                     static_cast<double>(late) / static_cast<double>(times.size()));
}

std::string rise(int runs, bool two) {
  std::vector<double> found, left;
  for (int run = 0; run < runs; ++run) {
    Conversation conversation(static_cast<unsigned>(run), 0, two);
    conversation.lose(kLossy);
    const Time begin = conversation.now();
    for (bool leaves = false; std::ssize(left) == run;) {
      leaves = conversation.leaves();
      const double since = milliseconds(conversation.now() - begin);
      const bool end = leaves || since >= 10'000;
      if (std::ssize(found) == run && (end || conversation.loss() > kShown)) found.push_back(since);
      if (end) left.push_back(since);
    }
  }
  return fmt::format("\"found\":{},\"left\":{}", summary(found, 700), summary(left, 1000));
}

std::string steady(int runs, double usual, bool two) {
  constexpr int kSeconds = 10;
  int shown = 0, left = 0;
  std::uint64_t bytes = 0;
  for (int run = 0; run < runs; ++run) {
    Conversation conversation(static_cast<unsigned>(run), usual, two);
    conversation.forget_bytes();
    bool shows = false;
    for (const Time end = conversation.now() + std::chrono::seconds(kSeconds);
         conversation.now() < end;) {
      if (conversation.leaves()) {
        ++left;
        conversation.stay();
      }
      const bool is = conversation.loss() > kShown + usual * policy::kAllLost;
      shown += is && !shows;
      shows = is;
    }
    bytes += conversation.bytes();
  }
  const double seconds = static_cast<double>(runs) * kSeconds;
  return fmt::format(
      "\"at_{:g}\":{{\"shown_per_minute\":{:.3f},\"left_per_minute\":{:.3f},"
      "\"bytes_per_second\":{:.0f}}}",
      usual, shown * 60 / seconds, left * 60 / seconds, static_cast<double>(bytes) / seconds);
}

}  // namespace

void simulate_loss(int runs) {
  std::string all;
  for (const bool two : {false, true}) {
    all += fmt::format("{}\"{}\":{{{}", all.empty() ? "" : ",", two ? "two_hosts" : "one_host",
                       rise(runs, two));
    for (const double usual : {0.0, 0.001, 0.01}) all += "," + steady(runs, usual, two);
    all += "}";
  }
  fmt::print("{{{}}}\n", all);
}

}  // namespace homeport
