#include "agent/trace/tracer.h"

#include "agent/trace/trace_json.h"
#include "overlay/channel/connect_any.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"
#include "policy/text.h"

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <deque>

namespace homeport::agent {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using overlay::Datapath;
using overlay::TraceCounter;
using policy::Result;

namespace {

constexpr std::size_t kLiveNameMax = 64;

policy::Error busy(std::string why) {
  return policy::make_error(errc::resource_unavailable_try_again, std::move(why));
}

/// One of a limited number of places, taken for as long as it lives.
class Place {
 public:
  explicit Place(std::size_t& taken) : taken_(taken) { ++taken_; }
  ~Place() { --taken_; }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  std::size_t& taken_;
};

asio::awaitable<Result<std::unique_ptr<TraceCounter>>> count_there(Datapath& datapath,
                                                                   TraceBeginning beginning) {
  co_return datapath.count(beginning.origin, beginning.packet);
}

}  // namespace

Tracer::Tracer(TracerContext context, TracerLimits limits)
    : context_(std::move(context)), limits_(limits), worker_(std::make_shared<Worker>()) {}

Tracer::~Tracer() {
  worker_->stop();
}

std::string Tracer::host_at(const policy::IpAddress& vtep) const {
  for (const auto& [name, host] : context_.database.hosts()) {
    if (std::ranges::find(host.vteps, vtep) != host.vteps.end()) return name;
  }
  // One that relays may be reached by another of its addresses.
  for (const auto& [uuid, interface] : context_.database.contents().interfaces) {
    if (interface.address == vtep) return interface.host;
  }
  return vtep.to_string();
}

policy::IpAddress Tracer::vtep_of(const std::string& host, bool v6) const {
  auto row = context_.database.hosts().find(host);
  if (row == context_.database.hosts().end()) return {};
  auto vtep = std::ranges::find(row->second.vteps, v6, &policy::IpAddress::is_v6);
  return vtep == row->second.vteps.end() ? policy::IpAddress{} : *vtep;
}

/// What is known of a host that does not answer: who is there.
std::string Tracer::known_about(const Leg& leg) const {
  const auto* tunnel = std::get_if<TraceTunnel>(&leg.start);
  if (!tunnel) return {};
  const Contents& contents = context_.database.contents();
  for (const auto& [name, binding] : contents.bindings) {
    auto network = contents.networks.find(binding.network);
    if (binding.mac != tunnel->packet.destination_mac || network == contents.networks.end() ||
        network->second.vni != tunnel->origin.vni) {
      continue;
    }
    return fmt::format(" By the control database {} is at {}, of generation {}.",
                       binding.application, binding.location.empty() ? "no host" : binding.location,
                       binding.generation);
  }
  return {};
}

asio::awaitable<void> Tracer::count(TraceBeginning beginning, Counting& counting) {
  auto counted = co_await asio::co_spawn(worker_->executor(),
                                         count_there(context_.datapath, std::move(beginning)),
                                         asio::use_awaitable);
  if (!counted) {
    counting.problem = counted.error().message;
    co_return;
  }
  // What it takes down waits for the kernel, too.
  counting.counter =
      std::shared_ptr<TraceCounter>(counted->release(), [worker = worker_](TraceCounter* counter) {
        asio::post(worker->executor(), [owned = std::unique_ptr<TraceCounter>(counter)] {});
      });
}

asio::awaitable<TraceReply> Tracer::answer(TraceRequest request, Counting& counting) {
  TraceReply reply;
  auto start = from_message(request);
  if (!start) {
    reply.set_problem(start.error().message);
    co_return reply;
  }
  TraceBeginning beginning;
  if (const auto* tunnel = std::get_if<TraceTunnel>(&*start)) {
    beginning = {tunnel->origin, tunnel->packet};
  } else {
    auto begun =
        begin_trace(std::get<TraceQuestion>(*start), context_.database.contents(), context_.host);
    if (!begun) {
      reply.set_problem(begun.error().message);
      co_return reply;
    }
    beginning = std::move(*begun);
  }
  auto traced = context_.datapath.trace(beginning.origin, beginning.packet);
  if (!traced) {
    reply.set_problem(traced.error().message);
    co_return reply;
  }
  reply = to_message(*traced);
  if (!request.count()) co_return reply;
  std::string key = request.SerializeAsString();
  if (counting.request != key) {
    counting = {std::move(key), nullptr, {}};
    co_await count(beginning, counting);
  }
  reply.set_counting_problem(counting.problem);
  if (counting.counter) put_counts(counting.counter->counts(), reply);
  co_return reply;
}

asio::awaitable<void> Tracer::serve(overlay::Channel channel) {
  if (channels_ >= limits_.channels) co_return;
  const Place place(channels_);
  Counting counting;
  while (true) {
    auto request = co_await channel.receive<TraceRequest>();
    if (!request) co_return;
    auto reply = co_await answer(std::move(*request), counting);
    auto sent = co_await channel.send(reply);
    if (!sent) co_return;
  }
}

asio::awaitable<Result<void>> Tracer::connect(std::string host, Hop& hop) {
  overlay::ConnectOptions options;
  options.expected_host = host;
  options.session = kTraceSession;
  options.timeouts.connect = limits_.answer;
  options.timeouts.handshake = limits_.answer;
  auto endpoints = control_endpoints(context_.database.contents(), host);
  auto channel = co_await overlay::connect_any(context_.tls, std::move(endpoints), options,
                                               context_.peer_check);
  if (!channel) co_return channel.error();
  hop.channel = std::make_shared<overlay::Channel>(std::move(*channel));
  hop.anew = hop.anew || hop.reached;
  hop.reached = true;
  co_return Result<void>();
}

asio::awaitable<Result<TraceTold>> Tracer::ask(std::string host, TraceRequest request, Hop& hop) {
  if (host == context_.host) {
    auto reply = co_await answer(std::move(request), hop.counting);
    co_return from_message(reply, host);
  }
  if (!hop.channel || !hop.channel->is_open()) {
    auto connected = co_await connect(host, hop);
    if (!connected) co_return connected.error();
  }
  std::shared_ptr<overlay::Channel> channel = hop.channel;
  asio::steady_timer patience(context_.executor, limits_.answer);
  auto late = std::make_shared<bool>(false);
  patience.async_wait([channel, late](boost::system::error_code ended) {
    if (ended) return;
    *late = true;
    channel->close();
  });
  auto sent = co_await channel->send(request);
  if (!sent) co_return sent.error();
  auto reply = co_await channel->receive<TraceReply>();
  patience.cancel();
  if (!reply && *late) {
    co_return policy::make_error(
        errc::timed_out,
        fmt::format("no answer within {} s",
                    std::chrono::ceil<std::chrono::seconds>(limits_.answer).count()));
  }
  if (!reply) {
    co_return policy::with_context(
        "its agent has closed the channel (one of an earlier version knows no traces: upgrade it)",
        reply.error());
  }
  co_return from_message(*reply, host);
}

asio::awaitable<Result<std::vector<TracedHost>>> Tracer::follow(TraceQuestion question,
                                                                std::shared_ptr<Live> live) {
  auto first = host_of(question, context_.database.contents(), context_.host);
  if (!first) co_return first.error();
  // What is wrong with the question is so everywhere, and is the asker's to mend.
  auto beginning = begin_trace(question, context_.database.contents(), *first);
  if (!beginning) co_return beginning.error();

  const auto deadline = std::chrono::steady_clock::now() + limits_.whole;
  std::vector<TracedHost> hosts;
  bool whole = true;
  std::deque<Leg> legs;
  legs.push_back({*first, {}, {}, question});
  while (!legs.empty() && hosts.size() < limits_.hosts &&
         std::chrono::steady_clock::now() < deadline) {
    const Leg leg = std::move(legs.front());
    legs.pop_front();
    TraceRequest request = to_message(leg.start, live != nullptr);
    Hop once;
    Hop* hop = &once;
    if (live) {
      const std::string key = leg.host + ' ' + request.SerializeAsString();
      hop = &live->hops[key];
      hop->anew = hop->anew || live->left.contains(key);
    }
    hop->used = true;
    auto told = co_await ask(leg.host, std::move(request), *hop);
    if (!told) {
      whole = false;
      TracedHost silent{.host = leg.host, .sent_by = leg.sent_by};
      silent.found.end = "unknown";
      silent.problem = fmt::format("{} does not tell: {}.{}", leg.host,
                                   policy::printable(told.error().message), known_about(leg));
      hosts.push_back(std::move(silent));
      continue;
    }
    told->host.sent_by = leg.sent_by;
    told->host.counts_anew = hop->anew;
    for (TracedCopy& copy : told->host.found.copies) {
      if (!copy.vtep) continue;
      copy.host = host_at(*copy.vtep);
      const policy::IpAddress outer =
          leg.vtep.is_unspecified() || leg.vtep.is_v6() != copy.vtep->is_v6()
              ? vtep_of(leg.host, copy.vtep->is_v6())
              : leg.vtep;
      legs.push_back({copy.host, leg.host, *copy.vtep,
                      TraceTunnel{{outer, copy.label != 0 ? copy.label : told->vni, copy.marked},
                                  told->packet}});
    }
    hosts.push_back(std::move(told->host));
  }
  // Of a group with very many members.
  if (!hosts.empty()) hosts.front().left_out += static_cast<std::uint32_t>(legs.size());
  if (live) {
    // Behind a host that does not tell just now, others go on counting.
    std::erase_if(live->hops, [&](const auto& item) {
      const bool unused = whole && !item.second.used;
      if (unused) live->left.insert(item.first);
      return unused;
    });
    for (auto& [key, hop] : live->hops) hop.used = false;
  }
  co_return hosts;
}

Result<std::shared_ptr<Tracer::Live>> Tracer::live_trace(const std::string& name,
                                                         const TraceQuestion& question) {
  if (name.size() > kLiveNameMax) {
    return policy::make_error(
        errc::invalid_argument,
        fmt::format("The parameter live is a name of at most {} bytes.", kLiveNameMax));
  }
  auto found = live_.find(name);
  if (found != live_.end() && found->second->busy) {
    return busy("This live trace is being answered already: choose another name for it.");
  }
  if (found != live_.end() && !(found->second->question == question)) {
    live_.erase(found);
    found = live_.end();
  }
  if (found == live_.end() && live_.size() >= limits_.live) {
    return busy(fmt::format(
        "{} live traces are under way on this host, which is the limit: end one.", limits_.live));
  }
  auto& live = live_[name];
  if (!live) {
    live = std::make_shared<Live>();
    live->question = question;
  }
  live->asked = std::chrono::steady_clock::now();
  if (!ending_idle_) {
    ending_idle_ = true;
    overlay::spawn(context_.executor, end_idle());
  }
  return live;
}

asio::awaitable<void> Tracer::end_idle() {
  while (!live_.empty()) {
    co_await overlay::pause(std::chrono::milliseconds(500));
    const auto oldest = std::chrono::steady_clock::now() - limits_.live_idle;
    std::erase_if(
        live_, [&](const auto& item) { return !item.second->busy && item.second->asked < oldest; });
  }
  ending_idle_ = false;
}

asio::awaitable<Result<boost::json::object>> Tracer::answer_query(
    std::map<std::string, std::string, std::less<>> query) {
  if (questions_ >= limits_.questions) {
    co_return busy(fmt::format(
        "{} traces are under way on this host, which is the limit: try again.", limits_.questions));
  }
  const Place place(questions_);
  auto question = parse_question(query);
  if (!question) co_return question.error();
  std::shared_ptr<Live> live;
  if (auto name = query.find("live"); name != query.end()) {
    auto found = live_trace(name->second, *question);
    if (!found) co_return found.error();
    live = *found;
    live->busy = true;
  }
  auto hosts = co_await follow(*question, live);
  if (live) {
    live->busy = false;
    live->asked = std::chrono::steady_clock::now();
  }
  if (!hosts) co_return hosts.error();
  co_return to_json(*question, *hosts);
}

}  // namespace homeport::agent
