#include "agent/paths/path_channels.h"

#include "agent/paths/paths.pb.h"
#include "overlay/log/log.h"
#include "overlay/negotiation/codec.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <utility>

namespace homeport::agent {

namespace asio = boost::asio;
namespace log = overlay::log;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

constexpr auto kFirstRetry = 200ms;
constexpr auto kLastRetry = 5s;

enum class CalledBy { us, peer };

struct Link {
  Link(const asio::any_io_executor& executor, overlay::Channel stands, CalledBy who)
      : channel(std::move(stands)), called_by(who), wake(executor) {}

  void close() {
    channel.close();
    wake.cancel();
  }

  overlay::Channel channel;
  CalledBy called_by;
  asio::steady_timer wake;
  std::optional<PathsSaid> next;  ///< what is to be sent
};

}  // namespace

struct PathChannels::State : std::enable_shared_from_this<State> {
  explicit State(Context c) : context(std::move(c)) {}

  /// Sends what is to be said, until the channel ends.
  asio::awaitable<void> speak(std::shared_ptr<Link> link) {
    while (link->channel.is_open()) {
      if (!link->next) {
        link->wake.expires_at(steady_clock::time_point::max());
        boost::system::error_code woken;
        co_await link->wake.async_wait(asio::redirect_error(asio::use_awaitable, woken));
        continue;
      }
      const PathsSaid said = *std::exchange(link->next, std::nullopt);
      auto sent = co_await link->channel.send(said);
      if (!sent) break;
    }
  }

  /// Whether the channel may go on.
  bool take(const std::string& peer, const PathsSaid& said) {
    const std::string &statement = said.statement(), &relaying = said.relaying();
    // What says nothing at all is not understood either.
    if (relaying.empty() || !statement.empty()) {
      if (!take(peer, overlay::decode(std::as_bytes(std::span(statement))), context.heard)) {
        return false;
      }
    }
    return relaying.empty() || take(peer, overlay::decode_relay(std::as_bytes(std::span(relaying))),
                                    context.heard_of_relaying);
  }

  template <class Statement>
  bool take(const std::string& peer, policy::Result<Statement> statement,
            const std::function<void(const std::string&, Statement)>& heard) {
    if (!statement) {
      log::warn(
          "{} says something about paths that cannot be understood, and its channel is "
          "closed: {}",
          peer, statement.error().message);
      return false;
    }
    heard(peer, std::move(*statement));
    return !ended;
  }

  /// `write` puts it into what is sent next on each channel.
  void say(const std::string& peer, const std::function<void(PathsSaid&)>& write) {
    auto with = links.find(peer);
    if (with == links.end()) return;
    for (const std::shared_ptr<Link>& link : with->second) {
      if (!link->next) link->next.emplace();
      write(*link->next);
      link->wake.cancel();
    }
  }

  asio::awaitable<void> converse(overlay::Channel channel, CalledBy who) {
    if (ended) co_return;
    const std::string peer = channel.peer();
    auto link = std::make_shared<Link>(context.executor, std::move(channel), who);
    std::list<std::shared_ptr<Link>>& all = links[peer];
    if (all.size() >= kMostChannels) {
      all.front()->close();
      all.pop_front();
    }
    all.push_back(link);
    overlay::spawn_service(
        context.executor,
        [](std::shared_ptr<State> self, std::shared_ptr<Link> by) -> asio::awaitable<void> {
          co_await self->speak(std::move(by));
        }(shared_from_this(), link));
    context.connected(peer);
    while (true) {
      auto said = co_await link->channel.receive<PathsSaid>();
      if (ended || !said || !take(peer, *said)) break;
    }
    link->close();
    auto left = links.find(peer);
    if (left != links.end() && std::erase(left->second, link) > 0 && left->second.empty()) {
      links.erase(left);
      context.disconnected(peer);
    }
  }

  bool called_by(const std::string& peer) const {
    auto with = links.find(peer);
    return with != links.end() && std::ranges::any_of(with->second, [](const auto& link) {
             return link->called_by == CalledBy::peer;
           });
  }

  bool wants(const std::string& peer, const Endpoint& endpoint) const {
    return peers.contains(peer) && std::ranges::count(context.endpoints_of(peer), endpoint) > 0;
  }

  /// Those that this host keeps to peers that are not wanted (any more).
  void close_unwanted() {
    for (const auto& [peer, all] : links) {
      if (peers.contains(peer)) continue;
      for (const std::shared_ptr<Link>& link : all) {
        if (link->called_by == CalledBy::us) link->close();
      }
    }
  }

  void end() {
    ended = true;
    peers.clear();
    for (const auto& [peer, all] : std::exchange(links, {})) {
      for (const std::shared_ptr<Link>& link : all) link->close();
    }
  }

  /// Keeps a channel to one endpoint of a peer, for as long as that is one.
  asio::awaitable<void> keep(std::string peer, Endpoint endpoint) {
    overlay::ConnectOptions options;
    options.endpoint = endpoint;
    options.expected_host = peer;
    options.session = kPathsSession;
    options.timeouts = context.timeouts;
    steady_clock::duration retry = kFirstRetry;
    std::string problem;
    while (wants(peer, endpoint)) {
      if (context.host > peer) {
        co_await overlay::pause(context.others_turn);
        if (!wants(peer, endpoint)) break;
        if (called_by(peer)) continue;
      }
      auto channel = co_await overlay::connect(context.tls, options, context.peer_check);
      if (!wants(peer, endpoint)) break;
      if (channel) {
        problem.clear();
        const steady_clock::time_point begun = steady_clock::now();
        co_await converse(std::move(*channel), CalledBy::us);
        // Who closes what was just connected, would be called again and again.
        if (steady_clock::now() - begun >= kLastRetry) retry = kFirstRetry;
      } else if (channel.error().message != problem) {
        problem = channel.error().message;
        log::info("no paths can be negotiated with {} by {} yet: {}", peer, to_string(endpoint),
                  problem);
      }
      co_await overlay::pause(retry);
      retry = std::min<steady_clock::duration>(retry * 2, kLastRetry);
    }
    kept.erase({peer, endpoint});
  }

  Context context;
  bool ended = false;  ///< nobody is to be told of anything
  std::set<std::string> peers;
  std::set<std::pair<std::string, Endpoint>> kept;
  std::map<std::string, std::list<std::shared_ptr<Link>>> links;
};

PathChannels::PathChannels(Context context) : state_(std::make_shared<State>(std::move(context))) {}

PathChannels::~PathChannels() {
  state_->end();
}

void PathChannels::follow(const std::set<std::string>& peers) {
  State& state = *state_;
  state.peers = peers;
  state.close_unwanted();
  for (const std::string& peer : peers) {
    for (const Endpoint& endpoint : state.context.endpoints_of(peer)) {
      if (!state.kept.emplace(peer, endpoint).second) continue;
      overlay::spawn_service(
          state.context.executor,
          [](std::shared_ptr<State> self, std::string to, Endpoint at) -> asio::awaitable<void> {
            co_await self->keep(std::move(to), at);
          }(state_, peer, endpoint));
    }
  }
}

bool PathChannels::connected(const std::string& peer) const {
  return state_->links.contains(peer);
}

bool PathChannels::called_by(const std::string& peer) const {
  return state_->called_by(peer);
}

void PathChannels::say(const std::string& peer, const overlay::PathStatement& statement) {
  const std::string bytes = overlay::encode(statement);
  state_->say(peer, [&](PathsSaid& said) { said.set_statement(bytes); });
}

void PathChannels::say(const std::string& peer, const overlay::RelayStatement& statement) {
  const std::string bytes = overlay::encode(statement);
  state_->say(peer, [&](PathsSaid& said) { said.set_relaying(bytes); });
}

asio::awaitable<void> PathChannels::serve(overlay::Channel channel) {
  auto state = state_;
  co_await state->converse(std::move(channel), CalledBy::peer);
}

}  // namespace homeport::agent
