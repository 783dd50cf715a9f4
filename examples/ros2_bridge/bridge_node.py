"""A ROS 2 node that publishes what x2c-edge commands: ``python bridge_node.py --ros-args -p link:=URI``.

It has not run in a ROS distribution yet (README.md says what is tested).
"""

import rclpy
from commands_in import JOINTS, CommandsIn, control_array, joint_positions
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float32MultiArray, MultiArrayDimension, MultiArrayLayout

LOOK_S = 1 / 120  # twice the rate of the commands
KEPT = 1  # messages for a slow subscriber: an old command is of no use


class Bridge(Node):
    """joint_states: gaze, head and neck, radians. ~/controls: all 30, paper units."""

    def __init__(self):
        super().__init__("x2c_edge_bridge")
        self.declare_parameter("link", "zmq://127.0.0.1:6666")
        self.commands = CommandsIn(self.get_parameter("link").value)
        self.joints = self.create_publisher(JointState, "joint_states", KEPT)
        self.controls = self.create_publisher(Float32MultiArray, "~/controls", KEPT)
        self.create_timer(LOOK_S, self.look)

    def look(self):
        values = self.commands.newest()
        if values is None:
            return
        joints = JointState()
        joints.header.stamp = self.get_clock().now().to_msg()
        joints.name = JOINTS
        joints.position = joint_positions(values)
        self.joints.publish(joints)
        data = control_array(values)
        row = MultiArrayDimension(label="controls", size=len(data), stride=len(data))
        self.controls.publish(Float32MultiArray(layout=MultiArrayLayout(dim=[row], data_offset=0), data=data))


def main():
    rclpy.init()
    bridge = Bridge()
    try:
        rclpy.spin(bridge)
    except KeyboardInterrupt:
        pass
    finally:
        bridge.commands.close()
        bridge.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
