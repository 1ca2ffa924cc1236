// homeport trace
#include "agent/cli/arguments.h"
#include "agent/cli/commands.h"
#include "agent/cli/status_client.h"
#include "agent/cli/trace_view.h"
#include "agent/status/server.h"

#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/json/serialize.hpp>
#include <boost/url/encode.hpp>
#include <boost/url/rfc/unreserved_chars.hpp>

#include <algorithm>
#include <csignal>
#include <memory>
#include <ostream>
#include <random>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using policy::Result;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLiveInterval{1};

struct TraceArguments {
  std::string from, to, source, at;
  std::string protocol = "udp";
  std::uint32_t length = 100, hops = 64, port = 0, source_port = 0;  ///< of ports 0: none
  bool may_fragment = false, live = false;
  double seconds = 0;  ///< 0: until interrupted
  std::string agent = kDefaultStatusEndpoint;
};

std::string target_of(const TraceArguments& arguments, const std::string& live) {
  std::string target = "/v1/trace";
  auto add = [&](const char* name, const std::string& value) {
    if (value.empty()) return;
    target += fmt::format("{}{}={}", target.ends_with("trace") ? '?' : '&', name,
                          boost::urls::encode(value, boost::urls::unreserved_chars));
  };
  add("from", arguments.from);
  add("to", arguments.to);
  add("source", arguments.source);
  add("protocol", arguments.protocol);
  if (arguments.port) add("port", std::to_string(arguments.port));
  if (arguments.source_port) add("source_port", std::to_string(arguments.source_port));
  add("length", std::to_string(arguments.length));
  add("hops", std::to_string(arguments.hops));
  add("fragment", arguments.may_fragment ? "yes" : "no");
  add("at", arguments.at);
  add("live", live);
  return target;
}

Result<void> show(const TraceArguments& arguments, const json::value& trace,
                  Invocation& invocation) {
  if (invocation.global.json) {
    invocation.terminal.out << json::serialize(trace) << std::endl;
    return {};
  }
  auto page = trace_page(arguments.from, trace);
  if (!page) return page.error();
  invocation.terminal.out << *page << std::flush;
  return {};
}

/// Again and again, until the time is over or an interrupt; only the last time is shown where it
/// cannot be drawn in place.
Result<int> follow_live(const TraceArguments& arguments, std::chrono::milliseconds timeout,
                        Invocation& invocation) {
  const std::string target =
      target_of(arguments, fmt::format("homeport-{}-{:08x}", ::getpid(), std::random_device{}()));
  asio::io_context context{1};
  asio::signal_set signals(context, SIGINT, SIGTERM);
  bool ended = false;
  signals.async_wait([&](boost::system::error_code error, int) { ended = ended || !error; });
  const auto end = Clock::now() + std::chrono::round<Clock::duration>(
                                      std::chrono::duration<double>(arguments.seconds));
  const bool drawn = invocation.terminal.interactive && !invocation.global.json;
  while (true) {
    auto trace = get_status(arguments.agent, target, timeout);
    if (!trace) return trace.error();
    ended = ended || (arguments.seconds > 0 && Clock::now() >= end);
    if (drawn) invocation.terminal.out << "\x1b[H\x1b[2J";
    if (drawn || ended || invocation.global.json) {
      if (auto shown = show(arguments, *trace, invocation); !shown) return shown.error();
    }
    if (ended) return is_whole(*trace) ? kExitDone : kExitFailed;
    Clock::duration rest = kLiveInterval;
    if (arguments.seconds > 0) rest = std::min(rest, end - Clock::now());
    context.run_for(rest);
  }
}

Result<int> trace(const TraceArguments& arguments, Invocation& invocation) {
  const auto timeout = std::chrono::round<std::chrono::milliseconds>(invocation.global.timeout);
  if (arguments.live) return follow_live(arguments, timeout, invocation);
  auto trace = get_status(arguments.agent, target_of(arguments, {}), timeout);
  if (!trace) return trace.error();
  if (auto shown = show(arguments, *trace, invocation); !shown) return shown.error();
  return is_whole(*trace) ? kExitDone : kExitFailed;
}

}  // namespace

void add_trace_command(CLI::App& app, Invocation& invocation) {
  auto arguments = std::make_shared<TraceArguments>();
  CLI::App* command = app.add_subcommand(
      "trace",
      "Show what the hosts do with a packet, step by step, and which table entry decides.\n"
      "Asks this machine's agent, which asks those of the other hosts. Nothing is sent.");
  command
      ->add_option("FROM", arguments->from,
                   "Who sends it: an application, one of its bindings, or host: a host's own "
                   "processes")
      ->required()
      ->check(kIsGiven);
  command->add_option("TO", arguments->to, "The address it is for: of one, or of a group")
      ->required()
      ->check(kIsIpAddress);
  command
      ->add_option("--source", arguments->source,
                   "The address it comes from (default: one of the sender's)")
      ->check(kIsIpAddress)
      ->type_name("IP");
  command->add_option("--protocol", arguments->protocol, "udp, tcp, sctp or icmp (default: udp)")
      ->check(CLI::IsMember({"udp", "tcp", "sctp", "icmp"}))
      ->type_name("NAME");
  command
      ->add_option("--port", arguments->port,
                   "The port it is for, by which a rule may choose its class (default: none has "
                   "a rule)")
      ->check(CLI::Range(1, 65535))
      ->type_name("PORT");
  command->add_option("--source-port", arguments->source_port, "The port it comes from, likewise")
      ->check(CLI::Range(1, 65535))
      ->type_name("PORT");
  command->add_option("--length", arguments->length, "Bytes of the IP packet (default: 100)")
      ->check(CLI::Range(48, 65535))
      ->type_name("BYTES");
  command->add_option("--hops", arguments->hops, "Its TTL or hop limit (default: 64)")
      ->check(CLI::Range(1, 255))
      ->type_name("NUMBER");
  command->add_flag("--may-fragment", arguments->may_fragment,
                    "It may be fragmented (IPv4; otherwise it has the don't-fragment bit)");
  command->add_option("--at", arguments->at, "With host: of which host (default: this machine's)")
      ->type_name("HOST");
  auto* live = command->add_flag(
      "--live", arguments->live,
      "Count real packets of this kind at every host, until an interrupt (Ctrl-C)");
  command->add_option("--for", arguments->seconds, "With --live: end after so long")
      ->check(CLI::Range(0.1, 86'400.0))
      ->needs(live)
      ->type_name("SECONDS");
  command
      ->add_option("--agent", arguments->agent,
                   fmt::format("The agent's status address: a loopback ADDRESS:PORT or unix:PATH "
                               "(default: {})",
                               kDefaultStatusEndpoint))
      ->envname("HOMEPORT_AGENT")
      ->type_name("ADDRESS");
  command->callback([arguments, &invocation] {
    invocation.action = [arguments, &invocation] { return trace(*arguments, invocation); };
  });
}

}  // namespace homeport::agent
