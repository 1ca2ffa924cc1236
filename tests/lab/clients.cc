#include "tests/lab/clients.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>

#include <algorithm>
#include <array>
#include <fstream>

#include "tests/lab/clients/record.h"
#include "tests/lab/failure.h"
#include "tests/lab/pattern.h"

namespace homeport::lab {
namespace {

/// The last whole JSON line of a client's log; null before the first.
boost::json::value last_line(const std::filesystem::path& log) {
  const std::string text = read_text(log);
  const auto end = text.rfind('\n');
  if (end == std::string::npos) return nullptr;
  const auto start = end == 0 ? std::string::npos : text.rfind('\n', end - 1);
  const auto from = start == std::string::npos ? 0 : start + 1;
  boost::system::error_code error;
  auto value = boost::json::parse(text.substr(from, end - from), error);
  if (error) throw LabFailure("a client ended badly\n" + tail_of(log, 5));
  return value;
}

std::uint64_t number(const boost::json::value& line, const char* key) {
  return line.is_object() ? boost::json::value_to<std::uint64_t>(line.at(key)) : 0;
}

void wait_for_more(Process& process, std::uint64_t more, const char* key, Clock::duration timeout,
                   const char* what) {
  const std::uint64_t before = number(last_line(process.log()), key);
  wait_until(
      [&] {
        if (number(last_line(process.log()), key) >= before + more) return true;
        if (!process.running()) throw LabFailure("a client ended early\n" + process.log_tail());
        return false;
      },
      timeout, what, [&] { return process.log_tail(3); });
}

std::uint64_t nanoseconds(Clock::time_point time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

}  // namespace

StreamClient::StreamClient(const Namespace& from, const std::string& address,
                           std::filesystem::path log, unsigned rate_kib)
    : process_({HOMEPORT_LAB_STREAM, address, std::to_string(kGuestStreamPort),
                std::to_string(rate_kib)},
               {.inside = &from, .log = std::move(log)}) {}

void StreamClient::wait_progress(std::uint64_t bytes, Clock::duration timeout) {
  wait_for_more(process_, bytes, "checked_bytes", timeout, "the TCP stream to go on");
}

StreamReport StreamClient::finish(Clock::duration timeout) {
  process_.send_signal(SIGTERM);
  process_.wait(timeout);
  const auto line = last_line(process_.log());
  StreamReport report;
  report.sent_bytes = number(line, "sent_bytes");
  report.checked_bytes = number(line, "checked_bytes");
  report.mismatches = number(line, "mismatches");
  if (line.is_object()) {
    report.survived = line.at("survived").as_bool();
    report.error = boost::json::value_to<std::string>(line.at("error"));
  }
  return report;
}

DatagramClient::DatagramClient(const Namespace& from, const std::string& address,
                               std::filesystem::path log, unsigned per_second)
    : record_(log.string() + ".record"),
      process_({HOMEPORT_LAB_DATAGRAMS, address, std::to_string(kGuestDatagramPort),
                std::to_string(per_second), record_.string()},
               {.inside = &from, .log = log}) {}

void DatagramClient::wait_progress(std::uint64_t answers, Clock::duration timeout) {
  wait_for_more(process_, answers, "answered", timeout, "answers to numbered datagrams");
}

DatagramReport DatagramClient::finish(Clock::duration timeout) {
  process_.send_signal(SIGTERM);
  if (process_.wait(timeout) != 0) {
    throw LabFailure("the datagram client failed\n" + process_.log_tail());
  }
  std::ifstream file(record_, std::ios::binary);
  RecordHeader header{};
  file.read(reinterpret_cast<char*>(&header), sizeof header);
  std::vector<Record> records(header.count);
  file.read(reinterpret_cast<char*>(records.data()),
            static_cast<std::streamsize>(records.size() * sizeof(Record)));
  if (!file) throw LabFailure("incomplete record " + record_.string());
  DatagramReport report;
  report.duplicated = header.duplicated;
  report.reordered = header.reordered;
  report.unreachable = header.unreachable;
  report.datagrams.reserve(records.size());
  for (const auto& record : records) report.datagrams.push_back({record.sent, record.answered});
  return report;
}

DatagramWindow DatagramReport::window(Clock::time_point from, Clock::time_point to) const {
  const std::uint64_t start = nanoseconds(from);
  const std::uint64_t end = nanoseconds(to);
  DatagramWindow result;
  std::vector<std::uint64_t> answers{start, end};
  for (const auto& datagram : datagrams) {
    if (datagram.sent >= start && datagram.sent <= end) {
      ++result.sent;
      if (datagram.answered == 0) ++result.lost;
    }
    if (datagram.answered >= start && datagram.answered <= end)
      answers.push_back(datagram.answered);
  }
  std::sort(answers.begin(), answers.end());
  for (std::size_t i = 1; i < answers.size(); ++i) {
    result.longest_gap_ms =
        std::max(result.longest_gap_ms, static_cast<double>(answers[i] - answers[i - 1]) / 1e6);
  }
  return result;
}

namespace {

constexpr std::uint16_t kFlowPort = 7003;

Command receiver_command(const std::vector<const Namespace*>& to) {
  Command command{HOMEPORT_LAB_FLOW, "receive", std::to_string(kFlowPort), "-"};
  for (const Namespace* place : to) command.push_back(place->name());
  return command;
}

double milliseconds(const boost::json::value& line, const char* key) {
  return static_cast<double>(number(line, key)) / 1000;
}

}  // namespace

Flow::Flow(const Namespace& from, const std::string& address,
           const std::vector<const Namespace*>& to, const std::filesystem::path& log,
           unsigned per_second, FlowWatch watch)
    : watch_(std::move(watch)),
      receiver_(receiver_command(to), {.log = log.string() + ".received"}) {
  receiver_.wait_for_log("received", 10s);  // it listens
  sender_ =
      std::make_unique<Process>(Command{HOMEPORT_LAB_FLOW, "send", address,
                                        std::to_string(kFlowPort), std::to_string(per_second)},
                                ProcessOptions{.inside = &from, .log = log.string() + ".sent"});
}

void Flow::wait_progress(std::uint64_t datagrams, Clock::duration timeout) {
  wait_for_more(receiver_, datagrams, "received", timeout, "a flow of datagrams to go on");
}

void Flow::wait_sent(std::uint64_t datagrams, Clock::duration timeout) {
  wait_for_more(*sender_, datagrams, "sent", timeout, "a flow of datagrams to be sent");
}

bool Flow::at_change_of_path(std::uint64_t number, std::uint64_t by, std::size_t place) const {
  if (place >= watch_.wires.size()) return false;
  const WireWatch& wire = *watch_.wires[place];
  const std::uint32_t sender = inet_addr(watch_.sender.c_str()), way = wire.source(number);
  return wire.source(by) == sender && way != sender && way != 0;
}

FlowReport Flow::finish(Clock::duration timeout) {
  sender_->send_signal(SIGTERM);
  int failed = sender_->wait(timeout);
  receiver_.send_signal(SIGTERM);
  failed += receiver_.wait(timeout);
  if (failed != 0) {
    throw LabFailure("a flow failed\n" + sender_->log_tail() + receiver_.log_tail());
  }
  const auto sent = last_line(sender_->log()), received = last_line(receiver_.log());
  FlowReport report;
  report.sent = number(sent, "sent");
  report.lost = report.sent - number(received, "received");
  report.duplicated = number(received, "duplicated");
  report.reordered = number(received, "reordered");
  for (const auto& each : received.at("overtaken").as_array()) {
    const auto [late, by, place] = boost::json::value_to<std::array<std::uint64_t, 3>>(each);
    if (!at_change_of_path(late, by, place)) continue;
    ++report.overtaken_at_change;
    --report.reordered;
  }
  report.switches = number(received, "switches");
  report.unreachable = number(sent, "unreachable");
  report.socket_drops = number(received, "socket_drops");
  report.longest_gap_ms = milliseconds(received, "longest_gap_us");
  report.longest_transit_ms = milliseconds(received, "transit_longest_us");
  report.longest_pause_ms = milliseconds(sent, "longest_gap_us");
  report.places = boost::json::value_to<std::vector<std::uint64_t>>(received.at("places"));
  return report;
}

std::string FlowReport::to_string() const {
  return fmt::format(
      "{} sent: {} lost ({} of them in the receiver), {} duplicated, {} reordered, {} "
      "overtaken where their sender's host changed over, {} switches, {} ICMP unreachable; longest "
      "gap {:.1f} ms, transit {:.1f} ms, pause of the sender {:.1f} ms",
      sent, lost, socket_drops, duplicated, reordered, overtaken_at_change, switches, unreachable,
      longest_gap_ms, longest_transit_ms, longest_pause_ms);
}

RequestClient::RequestClient(const Namespace& from, const std::string& address,
                             std::filesystem::path log, unsigned per_second)
    : process_({HOMEPORT_LAB_REQUESTS, address, std::to_string(kGuestControlPort),
                std::to_string(per_second)},
               {.inside = &from, .log = std::move(log)}) {}

void RequestClient::wait_progress(std::uint64_t answers, Clock::duration timeout) {
  wait_for_more(process_, answers, "answered", timeout, "answers to small requests");
}

RequestReport RequestClient::finish(Clock::duration timeout) {
  process_.send_signal(SIGTERM);
  process_.wait(timeout);
  const auto line = last_line(process_.log());
  RequestReport report;
  report.answered = number(line, "answered");
  report.failed = number(line, "failed");
  report.longest_ms = number(line, "longest_ms");
  if (line.is_object()) report.error = boost::json::value_to<std::string>(line.at("error"));
  return report;
}

DatagramWindow DatagramReport::all() const {
  if (datagrams.empty()) return {};
  std::uint64_t last = datagrams.back().sent;
  for (const auto& datagram : datagrams) last = std::max(last, datagram.answered);
  return window(Clock::time_point(std::chrono::nanoseconds(datagrams.front().sent)),
                Clock::time_point(std::chrono::nanoseconds(last)));
}

}  // namespace homeport::lab
