// What simulated hosts say to each other, in this process and others: UDP on the loopback device in
// the place of the agents' control channels. What is lost is told by the database.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/udp.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace homeport::bench {

struct Letter {
  std::string to, from;            ///< Hosts.
  std::string kind;                ///< "prepare", "prepared", "moved" or "heard".
  std::vector<std::string> words;  ///< Without spaces.
};

/// The process of host N listens at `first_port` + N % `processes`.
class Post {
 public:
  using Deliver = std::function<void(const Letter&)>;
  Post(const boost::asio::any_io_executor& executor, std::uint16_t first_port, unsigned processes,
       unsigned process, Deliver deliver);
  void send(const Letter& letter);
  std::uint64_t unsent() const { return unsent_; }

 private:
  void receive();

  std::uint16_t first_port_;
  unsigned processes_;
  Deliver deliver_;
  std::array<char, 2048> buffer_{};
  boost::asio::ip::udp::socket socket_;
  std::uint64_t unsent_ = 0;
};

}  // namespace homeport::bench
