#include "tests/bench/interfaces/traffic.h"

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>

#include "tests/lab/failure.h"

namespace homeport::lab {
namespace {

constexpr const char* kPort = "7004";

/// Of the last whole line that a program has printed; 0 before the first.
std::uint64_t last(const Process& process, const char* key) {
  const std::string text = read_text(process.log());
  const auto end = text.rfind('\n');
  if (end == std::string::npos) return 0;
  const auto before = end == 0 ? std::string::npos : text.rfind('\n', end - 1);
  const auto begin = before == std::string::npos ? 0 : before + 1;
  boost::system::error_code bad;
  const auto line = boost::json::parse(text.substr(begin, end - begin), bad);
  if (bad || !line.is_object()) throw LabFailure("the records ended badly\n" + text);
  return boost::json::value_to<std::uint64_t>(line.at(key));
}

}  // namespace

std::filesystem::path next_log(const std::filesystem::path& directory) {
  static unsigned count = 0;
  return directory / ("traffic-" + std::to_string(++count));
}

MptcpTraffic::MptcpTraffic(const Namespace& from, const std::string& address, const Namespace& to,
                           const std::filesystem::path& log)
    // At any address: subflows come to the others.
    : receiver_({HOMEPORT_INTERFACES_RECORDS, "receive", "0.0.0.0", kPort},
                {.inside = &to, .log = log.string() + ".received"}) {
  receiver_.wait_for_log("received", 10s);  // it listens
  sender_ = std::make_unique<Process>(
      Command{HOMEPORT_INTERFACES_RECORDS, "send", address, kPort, std::to_string(kPerSecond)},
      ProcessOptions{.inside = &from, .log = log.string() + ".sent"});
  wait_until([&] { return last(*sender_, "more_subflows") > 0; }, 10s,
             "the connection to have a second subflow", [&] { return sender_->log_tail(3); });
}

void MptcpTraffic::wait_progress(std::uint64_t records, Clock::duration timeout) {
  const std::uint64_t before = last(receiver_, "received");
  wait_until([&] { return last(receiver_, "received") >= before + records; }, timeout,
             "records to arrive", [&] { return receiver_.log_tail(3) + sender_->log_tail(3); });
}

double MptcpTraffic::finish() {
  receiver_.send_signal(SIGTERM);
  if (receiver_.wait(10s) != 0) throw LabFailure("the receiver failed\n" + receiver_.log_tail());
  sender_->kill();
  return static_cast<double>(last(receiver_, "longest_gap_us")) / 1000;
}

}  // namespace homeport::lab
