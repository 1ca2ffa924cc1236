// A fleet of which host 2 is looked at: what its datapath keeps, adopts and mends.
#pragma once

#include "overlay/datapath/map_image.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <bpf/bpf.h>
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>

namespace homeport::overlay {

/// One for the program: made before any thread.
inline const BpfFileSystem& upkeep_bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

class Upkeep : public testing::TestWithParam<Fleet> {
 protected:
  Fabric fabric_{upkeep_bpf(), GetParam()};
  Host& host_ = fabric_.host(2);
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);

  DesiredState desired() const {
    DesiredState state = host_.desired;
    normalize(state);
    return state;
  }

  void expect_talk() {
    Socket server(two_.inside, false), client(one_.inside, false);
    client.send(two_.v4, server.port(), "ping");
    EXPECT_EQ(server.receive(), "ping");
    server.send(one_.v4, client.port(), "pong");
    EXPECT_EQ(client.receive(), "pong");
  }

  /// Takes by hand what says where application 2 is.
  void delete_address_by_hand() {
    if (host_.kind == Kind::ovs) {
      host_.open_vswitch->ofctl({"del-flows", "br-int", "dl_dst=" + two_.mac.to_string()});
      return;
    }
    const auto map = host_.options.pin_directory / ("layout-" + std::to_string(HP_LAYOUT_VERSION)) /
                     "hp_addresses";
    UniqueFd fd(bpf_obj_get(map.c_str()));
    const hp_address_key key = address_key(kVni, two_.mac);
    ASSERT_EQ(bpf_map_delete_elem(fd.get(), &key), 0);
  }
  /// And its port, not its device.
  void delete_port_by_hand() {
    if (host_.kind == Kind::ovs) {
      host_.open_vswitch->vsctl({"del-port", "br-int", "app2"});
    } else {
      host_.inside.shell("tc filter del dev app2 ingress");
    }
  }

  /// Runs `disturb` while numbered datagrams go from one application to the other, one after the
  /// other as fast as they are taken; expects each of them, in order.
  template <class Disturb>
  void expect_no_loss_during(Disturb disturb) {
    Socket server(two_.inside, false), client(one_.inside, false);
    std::atomic<bool> done = false;
    std::uint64_t sent = 0;
    std::thread traffic([&] {
      while (!done || sent <= 100) {
        const std::string data = std::to_string(++sent);
        client.send(two_.v4, server.port(), data);
        ASSERT_EQ(server.receive(), data);
      }
    });
    disturb();
    done = true;
    traffic.join();
    EXPECT_GT(sent, 100u);
  }
};

}  // namespace homeport::overlay
