#include "tests/lab/fleet.h"

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>

#include <algorithm>

#include "tests/lab/failure.h"

namespace homeport::lab {
namespace {

std::string text(const boost::json::object& object, const char* key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::uint64_t number(const boost::json::object& object, const char* key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_number() ? boost::json::value_to<std::uint64_t>(*value) : 0;
}

std::string lines(const std::vector<std::string>& all) {
  std::string joined;
  for (const auto& line : all) joined += line + "\n";
  return joined;
}

bool pings(const Namespace& from, const std::string& address) {
  const std::string version = address.find(':') == std::string::npos ? "ping" : "ping6";
  return run_command({"busybox", version, "-c1", "-W1", address}, {.inside = &from}).status == 0;
}

}  // namespace

TaskView parse_task(const boost::json::object& json) {
  TaskView task;
  task.id = text(json, "id");
  task.state = text(json, "state");
  task.phase = text(json, "phase");
  task.error = text(json, "error");
  task.bytes_sent = number(json, "bytes_sent");
  task.ram_bytes = number(json, "ram_bytes");
  task.total_ms = number(json, "total_ms");
  task.downtime_ms = number(json, "downtime_ms");
  return task;
}

Fleet::Fleet(FleetOptions options)
    : options_(std::move(options)), lab_(options_.name, options_.database_servers) {
  HostOptions host{.underlay = {.rate_mbit = options_.rate_mbit, .mtu = 1500},
                   .memory_mib = options_.host_memory_mib,
                   .holdable = options_.holdable,
                   .watch_taps = !options_.containers};
  if (options_.second_underlay) host.second_underlay = host.underlay;
  if (!options_.underlays.empty()) {
    host.underlay = options_.underlays.at(0);
    host.second_underlay = options_.underlays.at(1);
  }
  host.lanes_apart = !options_.open_vswitch.empty();
  const auto& clocks = options_.clocks_off_seconds;
  for (auto [number, place] : {std::pair(0u, &a_), {1u, &b_}, {2u, &c_}}) {
    if (number < clocks.size()) host.clock_off_seconds = clocks[number];
    const char letter = static_cast<char>('A' + number);
    host.open_vswitch = options_.open_vswitch.find(letter) != std::string::npos;
    if (letter == 'C' && options_.underlays.size() > 2) host.third_underlay = options_.underlays[2];
    host.relay = options_.relays.find(letter) != std::string::npos;
    *place = &lab_.add_host(std::string("host") + letter, host);
  }
  if (!options_.underlays.empty()) lab_.route_underlays();
  lab_.add_network(options_.host_access);
  lab_.start_agents();
  const Namespace& client = lab_.add_client(*c_);
  if (options_.containers) {
    for (Host* host : {a_, b_}) {
      watches_.push_back(host->underlay().watch());
      containers_.push_back(&lab_.add_container(options_.guest, *host));
    }
    if (!options_.open_vswitch.empty()) lab_.complete_packets();
    lab_.add_container_application(options_.guest, *a_);
    wait_settled(*a_);
    return;
  }
  if (!options_.open_vswitch.empty()) lab_.complete_packets();
  lab_.add_guest(options_.guest, *a_);
  guest_ = std::make_unique<GuestControl>(client, options_.guest.ipv4);
}

MoveOutcome Fleet::move(const Host& to, Clock::duration timeout, const std::string& options) {
  const auto result = lab_.homeport(
      "move " + options_.guest.name + " --to " + to.name() + " --wait --json " + options, timeout);
  MoveOutcome outcome{.status = result.status, .task = {}, .err = result.err};
  boost::system::error_code bad;
  const auto json = boost::json::parse(result.out, bad);
  if (!bad && json.is_object()) outcome.task = parse_task(json.get_object());
  return outcome;
}

std::unique_ptr<Process> Fleet::start_move(const Host& to) {
  const auto before = tasks().size();
  auto process = std::make_unique<Process>(
      lab_.homeport_command("move " + options_.guest.name + " --to " + to.name() + " --wait"),
      ProcessOptions{.log = lab_.directory() / "move.log"});
  wait_until([&] { return tasks().size() > before || !process->running(); }, 20s,
             "the move to be asked for", [&] { return process->log_tail(); });
  return process;
}

int Fleet::show_move(const Host& to, Clock::duration timeout) {
  ProcessOptions options;
  options.show = true;
  Process process(
      lab_.homeport_command("move " + options_.guest.name + " --to " + to.name() + " --wait"),
      options);
  return process.wait(timeout);
}

std::unique_ptr<Flow> Fleet::start_flow(unsigned per_second, const std::string& address) {
  wait_until([&] { return pings(lab_.client(), address); }, 20s, address + " to answer");
  for (const Host* host : {a_, b_}) pings(c_->inside(), host->underlay_address());
  FlowWatch watch{.sender = c_->underlay_address(), .wires = {}};
  for (const auto& each : watches_) watch.wires.push_back(each.get());
  auto flow = std::make_unique<Flow>(lab_.client(), address, containers_,
                                     lab_.directory() / ("flow-" + std::to_string(++flows_)),
                                     per_second, std::move(watch));
  flow->wait_progress(200, 20s);
  return flow;
}

std::vector<TaskView> Fleet::tasks() {
  std::vector<TaskView> all;
  const auto json = lab_.homeport_json("task list");
  for (const auto& task : json.as_array()) all.push_back(parse_task(task.as_object()));
  return all;
}

TaskView Fleet::last_task() {
  auto all = tasks();
  return all.empty() ? TaskView() : all.back();
}

TaskView Fleet::wait_ended(Clock::duration timeout) {
  TaskView task;
  wait_until(
      [&] {
        task = last_task();
        return task.ended();
      },
      timeout, "the move to end",
      [&] {
        return "it is " + task.state + ", " + task.phase + "\n" + a_->agent().log_tail() + "\n" +
               b_->agent().log_tail();
      });
  return task;
}

Host& Fleet::whereabouts_of_container() {
  const std::string location = lab_.location(options_.guest.name);
  for (Host* host : {a_, b_}) {
    const bool here = host->name() == location;
    const std::string row = host->get("/v1/applications/" + options_.guest.name);
    const bool attached = row.find("\"state\":\"attached\"") != std::string::npos;
    const bool speaks = host->speaks(kContainerDevice);
    if (here != attached || here != speaks) {
      throw LabFailure("the control database says " + location + ", and at " + host->name() +
                       " the container is " + (speaks ? "" : "not ") + "in the network: " + row);
    }
  }
  return lab_.host(location);
}

Host& Fleet::whereabouts() {
  if (options_.containers) return whereabouts_of_container();
  Host* found = nullptr;
  for (Host* host : lab_.hosts()) {
    if (host->guest_pid(options_.guest.name) < 0) continue;
    if (found != nullptr) {
      throw LabFailure("the guest's process is on " + found->name() + " and on " + host->name());
    }
    found = host;
  }
  if (found == nullptr) throw LabFailure("the guest's process is nowhere");
  const std::string location = lab_.location(options_.guest.name);
  if (location != found->name()) {
    throw LabFailure("the guest is on " + found->name() + ", the control database says " +
                     location);
  }
  guest_->ask("status", 5s);
  return *found;
}

Host& Fleet::wait_somewhere(Clock::duration timeout) {
  Host* found = nullptr;
  std::string problem;
  wait_until(
      [&] {
        try {
          found = &whereabouts();
        } catch (const Interrupted&) {
          throw;
        } catch (const LabFailure& failure) {
          problem = failure.what();
        }
        return found != nullptr;
      },
      timeout, "the guest to be in one place", [&] { return problem; });
  return *found;
}

std::vector<std::string> Fleet::misplaced(const Host& owner) {
  std::vector<std::string> all;
  for (Host* host : lab_.hosts()) {
    auto things = host->leftovers();
    if (host != &owner || options_.containers) {
      all.insert(all.end(), things.begin(), things.end());
      continue;
    }
    // Where the guest runs it has one tap, one memory file, one process and its monitor's files.
    const auto own = [&](const char* kind) {
      return std::count_if(things.begin(), things.end(), [&](const std::string& thing) {
        return thing.find(std::string(": ") + kind + " ") != std::string::npos;
      });
    };
    if (own("tap") != 1 || own("memory") != 1 || own("guest") != 1 || own("journal") != 0) {
      all.insert(all.end(), things.begin(), things.end());
    }
  }
  return all;
}

void Fleet::wait_settled(const Host& host, Clock::duration timeout) {
  std::string problem;
  wait_until(
      [&] {
        try {
          if (Host& owner = whereabouts(); &owner != &host) {
            problem = "the guest is on " + owner.name();
            return false;
          }
          problem = lines(misplaced(host));
        } catch (const Interrupted&) {
          throw;
        } catch (const LabFailure& failure) {
          problem = failure.what();
        }
        return problem.empty();
      },
      timeout, "the guest to be on " + host.name() + " and nothing left elsewhere",
      [&] { return problem; });
}

}  // namespace homeport::lab
