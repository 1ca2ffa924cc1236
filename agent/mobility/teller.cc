#include "agent/mobility/teller.h"

#include "agent/mobility/handover.h"
#include "agent/network/arrivals.h"
#include "agent/network/departures.h"
#include "overlay/channel/connect_any.h"
#include "overlay/log/log.h"
#include "overlay/spawn.h"
#include "policy/text.h"

#include <fmt/format.h>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>

namespace homeport::agent {

namespace asio = boost::asio;
namespace log = overlay::log;
using namespace std::chrono_literals;
using policy::Result;
using std::chrono::steady_clock;

namespace {

/// A peer that cannot be told is tried again after this long, and then less and less often.
constexpr auto kFirstRetry = 200ms;
constexpr auto kLastRetry = 30s;
/// A channel stays open for the next move for that long.
constexpr auto kIdle = 30s;
/// A peer that takes the news and does not answer is given up and tried again.
constexpr auto kAnswerPatience = 5s;

}  // namespace

struct MobilityTeller::State : std::enable_shared_from_this<State> {
  explicit State(Context c)
      : context(std::move(c)), departures(context.host), arrivals(context.host) {}

  struct Peer {
    explicit Peer(const asio::any_io_executor& executor) : wake(executor) {}
    asio::steady_timer wake;
    std::optional<overlay::Channel> channel;
    std::vector<Moved> untold;  ///< when it was last woken
    std::string problem;        ///< that was told to the log
  };

  /// What `peer` has not confirmed yet.
  std::vector<Moved> untold(const std::string& peer) const {
    std::vector<Moved> moved = departures.untold(peer);
    std::ranges::copy(arrivals.untold(peer), std::back_inserter(moved));
    return moved;
  }

  /// Ends after `time`, or as soon as there may be something to tell.
  asio::awaitable<void> wait(std::shared_ptr<Peer> peer, steady_clock::duration time) {
    peer->wake.expires_after(time);
    boost::system::error_code ignored;
    co_await peer->wake.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }

  asio::awaitable<Result<void>> connect(std::string name, std::shared_ptr<Peer> peer) {
    overlay::ConnectOptions options;
    options.expected_host = name;
    options.session = kMobilitySession;
    options.timeouts = context.timeouts;
    auto endpoints = control_endpoints(context.database.contents(), name);
    auto channel = co_await overlay::connect_any(context.tls, std::move(endpoints), options,
                                                 context.peer_check);
    if (!channel) co_return channel.error();
    peer->channel = std::move(*channel);
    co_return Result<void>{};
  }

  /// One message and its answer.
  asio::awaitable<Result<HeardAll>> ask(std::string name, std::shared_ptr<Peer> peer,
                                        MovedBindings message) {
    if (!peer->channel || !peer->channel->is_open()) {
      auto connected = co_await connect(name, peer);
      if (!connected) co_return connected.error();
    }
    asio::steady_timer patience(context.executor, kAnswerPatience);
    patience.async_wait([peer](boost::system::error_code error) {
      if (!error && peer->channel) peer->channel->close();
    });
    auto sent = co_await peer->channel->send(message);
    if (!sent) co_return sent.error();
    auto answer = co_await peer->channel->receive<HeardAll>();
    if (answer && answer->heard_size() != message.moved_size()) {
      peer->channel->close();
      co_return policy::make_error(boost::system::errc::bad_message,
                                   fmt::format("{} was told of {} bindings and answered for {}",
                                               name, message.moved_size(), answer->heard_size()));
    }
    co_return answer;
  }

  /// True when the peer has confirmed all that it was told.
  asio::awaitable<bool> tell(std::string name, std::shared_ptr<Peer> peer,
                             std::vector<Moved> moved) {
    if (moved.size() > kMostTold) moved.resize(kMostTold);
    MovedBindings message;
    for (const Moved& each : moved) {
      MovedBinding& told = *message.add_moved();
      told.set_binding(each.binding);
      told.set_host(each.host);
      told.set_generation(each.generation);
      if (const std::string* proof = arrivals.proof(each)) {
        told.mutable_handover()->ParseFromString(*proof);  // as it was when it was taken in
      }
    }
    auto answer = co_await ask(name, peer, std::move(message));
    std::string problem;
    if (!answer) {
      peer->channel.reset();
      problem = answer.error().message;
    } else {
      for (int i = 0; i < answer->heard_size(); ++i) {
        const Moved& each = moved[static_cast<std::size_t>(i)];
        if (answer->heard(i).confirmed()) {
          departures.confirmed(name, each.binding, each.generation, steady_clock::now());
          arrivals.confirmed(name, each.binding, each.generation);
        } else {
          problem = policy::printable(answer->heard(i).why());
        }
      }
    }
    // Said once: it is asked again and again.
    if (problem != peer->problem && !problem.empty()) {
      log::info("{} has not confirmed yet that {} is at {}: {}", name, moved.front().binding,
                moved.front().host, problem);
    }
    peer->problem = problem;
    co_return problem.empty();
  }

  asio::awaitable<void> serve(std::string name, std::shared_ptr<Peer> peer) {
    steady_clock::duration retry = kFirstRetry;
    while (true) {
      std::vector<Moved> moved = untold(name);
      if (moved.empty()) {
        co_await wait(peer, kIdle);
        if (untold(name).empty()) break;
        continue;
      }
      const bool told = co_await tell(name, peer, std::move(moved));
      if (told) {
        retry = kFirstRetry;
        continue;
      }
      co_await wait(peer, retry);
      retry = std::min<steady_clock::duration>(retry * 2, kLastRetry);
    }
    peers.erase(name);
  }

  Context context;
  Departures departures;
  Arrivals arrivals;
  std::map<std::string, std::shared_ptr<Peer>> peers;
};

MobilityTeller::MobilityTeller(Context context)
    : state_(std::make_shared<State>(std::move(context))) {}

MobilityTeller::~MobilityTeller() = default;

void MobilityTeller::follow() {
  State& state = *state_;
  if (!state.context.network.programmed()) return;
  state.departures.follow(state.context.database.contents(), state.context.network.been_here(),
                          steady_clock::now());
  state.arrivals.follow(state.context.database.contents(), steady_clock::now());
  std::set<std::string> names = state.departures.peers();
  names.merge(state.arrivals.peers());
  for (const std::string& name : names) {
    auto [place, is_new] = state.peers.try_emplace(name);
    if (is_new) place->second = std::make_shared<State::Peer>(state.context.executor);
    // What it has failed to hear is no reason to try again sooner.
    std::vector<Moved> untold = state.untold(name);
    if (untold == place->second->untold) continue;
    place->second->untold = std::move(untold);
    if (!is_new) {
      place->second->wake.cancel();
      continue;
    }
    overlay::spawn(state.context.executor,
                   [](std::shared_ptr<State> self, std::string peer,
                      std::shared_ptr<State::Peer> at) -> asio::awaitable<void> {
                     co_await self->serve(std::move(peer), std::move(at));
                   }(state_, name, place->second));
  }
}

void MobilityTeller::arrived(const std::string& source, const std::string& application,
                             policy::Generation generation, std::vector<std::string> handovers) {
  State& state = *state_;
  const ArrivedMove move{source, state.context.host, application, generation};
  if (handovers.size() > kMostTold) handovers.resize(kMostTold);
  for (std::string& bytes : handovers) {
    SignedHandover handover;
    Result<Handover> read =
        handover.ParseFromString(bytes)
            ? read_handover(handover, state.context.peer_check)
            : policy::make_error(boost::system::errc::bad_message, "what it sent is no handover");
    if (read && !is_of_move(*read, move, state.context.database.contents())) {
      read = policy::make_error(boost::system::errc::invalid_argument,
                                "what it signed is of another move");
    }
    if (!read) {
      log::warn(
          "{} has moved an application here, and others will not hear of it from this host: "
          "{}",
          source, read.error().message);
      continue;
    }
    state.arrivals.came(std::move(read->moved), source, std::move(bytes), steady_clock::now());
  }
  follow();
}

void MobilityTeller::settle() {
  State& state = *state_;
  for (const std::string& binding : state.departures.settled(steady_clock::now())) {
    state.context.network.settled(binding);
  }
  follow();
}

namespace {

/// Returns why `peer` cannot count on it; empty when it can.
std::string hear(const std::string& peer, const MovedBinding& told, VirtualNetwork& network,
                 const overlay::PeerCheck& check) {
  const Moved moved{policy::printable(told.binding()), policy::printable(told.host()),
                    told.generation()};
  if (!told.has_handover()) return network.hear(peer, moved);
  auto handover = read_handover(told.handover(), check);
  if (!handover) return handover.error().message;
  if (handover->moved != moved) return "the handover that is shown is of something else";
  return network.hear(handover->from, moved);
}

}  // namespace

asio::awaitable<void> hear_of_moves(overlay::Channel channel, VirtualNetwork& network,
                                    overlay::PeerCheck check) {
  while (true) {
    auto message = co_await channel.receive<MovedBindings>();
    if (!message) {
      if (!message.error().cancelled() && message.error().code != asio::error::eof) {
        log::info("{} told of moves until: {}", channel.peer(), message.error().message);
      }
      co_return;
    }
    if (message->moved_size() > kMostTold) {
      log::warn("{} told of {} moves at once, more than {}: its channel is closed", channel.peer(),
                message->moved_size(), kMostTold);
      co_return;
    }
    HeardAll answer;
    for (const MovedBinding& moved : message->moved()) {
      const std::string why = hear(channel.peer(), moved, network, check);
      Heard& heard = *answer.add_heard();
      heard.set_confirmed(why.empty());
      heard.set_why(why);
    }
    auto sent = co_await channel.send(answer);
    if (!sent) co_return;
  }
}

}  // namespace homeport::agent
