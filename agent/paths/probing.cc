#include "agent/paths/probing.h"

#include "overlay/log/log.h"
#include "overlay/spawn.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fcntl.h>
#include <algorithm>
#include <random>
#include <utility>

namespace homeport::agent {

namespace asio = boost::asio;
namespace log = overlay::log;
using policy::Time;

struct Probing::State : std::enable_shared_from_this<State> {
  State(asio::any_io_executor executor, std::unique_ptr<overlay::ProbeWire> probes,
        std::shared_ptr<overlay::LaneTraffic> traffic, std::function<void(const std::string&)> tell)
      : wire(std::move(probes)),
        lanes(std::move(traffic)),
        news(std::move(tell)),
        prober({}, std::random_device{}()),
        timer(executor),
        answers(executor, ::fcntl(wire->answers_fd(), F_DUPFD_CLOEXEC, 0)) {}

  static Time now() { return std::chrono::steady_clock::now(); }

  /// Said once, as it is tried again and again.
  void complain(const policy::Error& error) {
    if (std::exchange(problem, error.message) != error.message) {
      log::warn("paths cannot be measured as they should: {}", error.message);
    }
  }

  template <class T>
  std::vector<T> or_nothing(policy::Result<std::vector<T>> told) {
    if (told) return *std::move(told);
    complain(told.error());
    return {};
  }

  void poll(Time at) {
    wire->take_answers([this](const overlay::ProbeAnswer& answer) { prober.answered(answer); });
    if (last.poll_carried && lanes) {
      for (const auto& lane : lanes->take()) prober.carried({lane.local, lane.remote}, lane.last);
    }
    if (at < last.again) return;
    if (last.poll_used) prober.used(or_nothing(wire->used()), at);
    if (last.poll_heard) prober.heard(or_nothing(wire->heard()));
  }

  void look() {
    const Time at = now();
    due = false;
    poll(at);
    last = prober.look(at);
    for (const overlay::ProbeAsk& ask : last.asks) {
      auto asked = wire->ask(ask);
      if (!asked) prober.refused(ask, asked.error(), at);
    }
    for (const std::string& peer : last.news) news(peer);
    timer.expires_at(std::exchange(due, false) ? at : last.again);
  }

  /// Also while it is looked.
  void wake() {
    due = true;
    timer.cancel();
  }

  asio::awaitable<void> keep_looking() {
    while (wire) {
      look();
      boost::system::error_code sooner;
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, sooner));
    }
  }

  asio::awaitable<void> keep_listening() {
    while (wire) {
      co_await answers.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
      if (!wire) co_return;
      wire->take_answers([this](const overlay::ProbeAnswer& answer) { prober.answered(answer); });
      wake();
    }
  }

  void end() {
    wire.reset();
    timer.cancel();
    answers.cancel();
  }

  std::unique_ptr<overlay::ProbeWire> wire;  ///< none: it has ended
  std::shared_ptr<overlay::LaneTraffic> lanes;
  std::function<void(const std::string&)> news;
  overlay::Prober prober;
  asio::steady_timer timer;
  asio::posix::stream_descriptor answers;
  overlay::Prober::Look last;
  bool due = false;  ///< something has come that is to be looked at at once
  std::string problem;
};

Probing::Probing(asio::any_io_executor executor, std::unique_ptr<overlay::ProbeWire> wire,
                 std::shared_ptr<overlay::LaneTraffic> lanes,
                 std::function<void(const std::string&)> news)
    : state_(
          std::make_shared<State>(executor, std::move(wire), std::move(lanes), std::move(news))) {
  overlay::spawn(executor, [](std::shared_ptr<State> self) -> asio::awaitable<void> {
    co_await self->keep_looking();
  }(state_));
  overlay::spawn(executor, [](std::shared_ptr<State> self) -> asio::awaitable<void> {
    co_await self->keep_listening();
  }(state_));
}

Probing::~Probing() {
  state_->end();
}

void Probing::follow(const std::string& peer, std::vector<overlay::ProbedWay> ways) {
  state_->prober.follow(peer, std::move(ways), State::now());
  state_->wake();
}

void Probing::forget(const std::string& peer) {
  state_->prober.forget(peer);
}

void Probing::transferred(const std::string& peer, const overlay::ProbePair& pair,
                          std::uint64_t bytes, policy::Micros duration, bool backlogged) {
  state_->prober.transferred(peer, pair, bytes, duration, backlogged, State::now());
  state_->wake();
}

std::vector<policy::PathReport> Probing::reports(const std::string& peer) const {
  return state_->prober.reports(peer, State::now());
}

overlay::ProbeTotals Probing::totals(const std::string& peer) const {
  return state_->prober.totals(peer);
}

}  // namespace homeport::agent
